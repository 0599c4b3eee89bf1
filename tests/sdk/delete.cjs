// Deletes training jobs, or looks at one, with the core of the official Node.js SDK, unmodified. There
// is no ModelArts package for Node.js, so the requests are described here, as the generated ones do it.
//
// Usage: delete.cjs ENDPOINT PROJECT_ID WHAT, WHAT being a job to delete, `get:` and a job to look at, or
// `batch:` and jobs to delete with one call, separated by commas, or `unsigned:` and the same, whose content
// type is a header of the caller's, for which the SDK does not sign the body; with the key in SDK_TEST_AK and SDK_TEST_SK, the
// packages in NODE_PATH, and in NODE_EXTRA_CA_CERTS, which Node.js itself reads, a CA to trust. Prints one line of JSON: status, error_code, error_msg, request_id;
// the last three are null when the call was good. Exits with 0 whenever the service answered.

const { BasicCredentials } = require("@huaweicloud/huaweicloud-sdk-core/auth/BasicCredentials");
const { ClientBuilder } = require("@huaweicloud/huaweicloud-sdk-core/ClientBuilder");

function request(projectId, what) {
  const common = { queryParams: {}, headers: {} };
  const [kind, argument] = what.includes(":") ? what.split(":") : ["delete", what];
  if (kind === "batch" || kind === "unsigned") {
    const ids = argument.split(",").filter((it) => it !== "");
    const type = "application/json;charset=UTF-8";
    const stated = kind === "batch" ? { contentType: type } : { headers: { "content-type": type } };
    return {
      ...common,
      ...stated,
      method: "POST",
      url: "/v2/{project_id}/training-jobs/batch-delete",
      pathParams: { project_id: projectId },
      data: { jobs: ids.map((id) => ({ kind: "job", metadata: { id } })) },
    };
  }
  return {
    ...common,
    method: kind === "get" ? "GET" : "DELETE",
    url: "/v2/{project_id}/training-jobs/{training_job_id}",
    contentType: "application/json",
    pathParams: { project_id: projectId, training_job_id: argument },
  };
}

async function main() {
  const [endpoint, projectId, what] = process.argv.slice(2);
  const credentials = new BasicCredentials()
    .withAk(process.env.SDK_TEST_AK)
    .withSk(process.env.SDK_TEST_SK)
    .withProjectId(projectId);
  const client = new ClientBuilder((it) => it)
    .withCredential(credentials)
    .withEndpoint(endpoint)
    .build();
  const answer = { status: null, error_code: null, error_msg: null, request_id: null };
  try {
    const response = await client.sendRequest(request(projectId, what));
    answer.status = response.httpStatusCode;
  } catch (error) {
    if (!error.httpStatusCode) {
      throw error;
    }
    answer.status = error.httpStatusCode;
    answer.error_code = error.errorCode ?? null;
    answer.error_msg = error.errorMsg ?? null;
    answer.request_id = error.requestId ?? null;
  }
  console.log(JSON.stringify(answer));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
