import com.fasterxml.jackson.databind.ObjectMapper;
import com.huaweicloud.sdk.core.ClientBuilder;
import com.huaweicloud.sdk.core.HcClient;
import com.huaweicloud.sdk.core.SdkResponse;
import com.huaweicloud.sdk.core.auth.BasicCredentials;
import com.huaweicloud.sdk.core.exception.ServiceResponseException;
import com.huaweicloud.sdk.core.http.FieldExistence;
import com.huaweicloud.sdk.core.http.HttpConfig;
import com.huaweicloud.sdk.core.http.HttpMethod;
import com.huaweicloud.sdk.core.http.HttpRequestDef;
import com.huaweicloud.sdk.core.http.LocationType;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/**
 * Deletes training jobs, or looks at one, with the core of the official Java SDK, unmodified. Maven
 * Central has no ModelArts package, so the requests are described here, as the generated ones do it.
 *
 * <p>Usage: Delete ENDPOINT PROJECT_ID WHAT, WHAT being a job to delete, `get:` and a job to look at, or
 * `batch:` and jobs to delete with one call, separated by commas; with the key in SDK_TEST_AK and SDK_TEST_SK, and in
 * SDK_TEST_CA the file of a CA to trust, if there is one. Prints one line of JSON: status,
 * error_code, error_msg, request_id; the last three are null when the call was good. Exits
 * with 0 whenever the service answered.
 */
public final class Delete {
  /** What the SDK takes the path's last part, or the body, from. */
  public static final class Request {
    private String trainingJobId;
    private Map<String, Object> body;

    public Map<String, Object> getBody() {
      return body;
    }

    public void setBody(Map<String, Object> body) {
      this.body = body;
    }

    public String getTrainingJobId() {
      return trainingJobId;
    }

    public void setTrainingJobId(String trainingJobId) {
      this.trainingJobId = trainingJobId;
    }
  }

  /** Nothing of the answer but its status is looked at. */
  public static final class Response extends SdkResponse {}

  private static HttpRequestDef<Request, Response> batch() {
    @SuppressWarnings("unchecked")
    Class<Map<String, Object>> type = (Class<Map<String, Object>>) (Class<?>) Map.class;
    return HttpRequestDef.builder(HttpMethod.POST, Request.class, Response.class)
        .withName("BatchDeleteTrainingJob")
        .withUri("/v2/{project_id}/training-jobs/batch-delete")
        .withContentType("application/json;charset=UTF-8")
        .withRequestField(
            "body",
            LocationType.Body,
            FieldExistence.NON_NULL_NON_EMPTY,
            type,
            field -> field.withMarshaller(Request::getBody, Request::setBody))
        .build();
  }

  private static HttpRequestDef<Request, Response> single(HttpMethod method) {
    return HttpRequestDef.builder(method, Request.class, Response.class)
        .withName("DeleteTrainingJob")
        .withUri("/v2/{project_id}/training-jobs/{training_job_id}")
        .withContentType("application/json")
        .withRequestField(
            "training_job_id",
            LocationType.Path,
            FieldExistence.NON_NULL_NON_EMPTY,
            String.class,
            field -> field.withMarshaller(Request::getTrainingJobId, Request::setTrainingJobId))
        .build();
  }

  /** Trusts the CA of `file` and no other. */
  private static void trust(HttpConfig config, String file) throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null);
    try (InputStream text = Files.newInputStream(Path.of(file))) {
      var certificate = CertificateFactory.getInstance("X.509").generateCertificate(text);
      store.setCertificateEntry("ca", certificate);
    }
    var factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    factory.init(store);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, factory.getTrustManagers(), null);
    config.setSSLSocketFactory(context.getSocketFactory());
    config.setX509TrustManager((X509TrustManager) factory.getTrustManagers()[0]);
  }

  private static List<Object> jobs(String ids) {
    List<Object> jobs = new ArrayList<>();
    for (String id : ids.split(",")) {
      if (!id.isEmpty()) {
        jobs.add(Map.of("kind", "job", "metadata", Map.of("id", id)));
      }
    }
    return jobs;
  }

  public static void main(String[] arguments) throws Exception {
    HttpConfig config = HttpConfig.getDefaultHttpConfig();
    if (System.getenv("SDK_TEST_CA") != null) {
      trust(config, System.getenv("SDK_TEST_CA"));
    }
    BasicCredentials credentials =
        new BasicCredentials()
            .withAk(System.getenv("SDK_TEST_AK"))
            .withSk(System.getenv("SDK_TEST_SK"))
            .withProjectId(arguments[1]);
    HcClient client =
        new ClientBuilder<HcClient>(it -> it)
            .withCredential(credentials)
            .withEndpoint(arguments[0])
            .withHttpConfig(config)
            .build();
    Request request = new Request();
    String what = arguments[2];
    HttpRequestDef<Request, Response> definition = single(HttpMethod.DELETE);
    if (what.startsWith("batch:")) {
      definition = batch();
      request.setBody(Map.of("jobs", jobs(what.substring(6))));
    } else if (what.startsWith("get:")) {
      definition = single(HttpMethod.GET);
      request.setTrainingJobId(what.substring(4));
    } else {
      request.setTrainingJobId(what);
    }
    Map<String, Object> answer = new LinkedHashMap<>();
    try {
      answer.put("status", client.syncInvokeHttp(request, definition).getHttpStatusCode());
      answer.put("error_code", null);
      answer.put("error_msg", null);
      answer.put("request_id", null);
    } catch (ServiceResponseException error) {
      answer.put("status", error.getHttpStatusCode());
      answer.put("error_code", error.getErrorCode());
      answer.put("error_msg", error.getErrorMsg());
      answer.put("request_id", error.getRequestId());
    }
    System.out.println(new ObjectMapper().writeValueAsString(answer));
    // The HTTP client's idle threads would keep the process alive for a minute.
    System.exit(0);
  }
}
