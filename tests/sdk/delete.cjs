// Deletes one training job with the core of the official Node.js SDK, unmodified. There is no
// ModelArts package for Node.js, so the request is described here, as the generated ones do it.
//
// Usage: delete.cjs ENDPOINT PROJECT_ID JOB_ID, with the key in SDK_TEST_AK and SDK_TEST_SK, the
// packages in NODE_PATH, and in NODE_EXTRA_CA_CERTS, which Node.js itself reads, a CA to trust. Prints one line of JSON: status, error_code, error_msg, request_id;
// the last three are null when the delete was accepted. Exits with 0 whenever the service answered.

const { BasicCredentials } = require("@huaweicloud/huaweicloud-sdk-core/auth/BasicCredentials");
const { ClientBuilder } = require("@huaweicloud/huaweicloud-sdk-core/ClientBuilder");

async function main() {
  const [endpoint, projectId, jobId] = process.argv.slice(2);
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
    const response = await client.sendRequest({
      method: "DELETE",
      url: "/v2/{project_id}/training-jobs/{training_job_id}",
      contentType: "application/json",
      queryParams: {},
      pathParams: { project_id: projectId, training_job_id: jobId },
      headers: {},
    });
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
