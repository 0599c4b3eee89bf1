// Deletes training jobs, or looks at one, with the official Go SDK, unmodified. Its released version
// has no batch delete yet, so that request is described here, as the generated ones do it.
//
// Usage: delete ENDPOINT PROJECT_ID WHAT, WHAT being a job to delete, `get:` and a job to look at, or
// `batch:` and jobs to delete with one call, separated by commas; with the key in SDK_TEST_AK and SDK_TEST_SK, and in
// SSL_CERT_FILE, which Go itself reads, the CA to trust. Prints one line of JSON: status,
// error_code, error_msg, request_id; the last three are null when the call was good. Exits
// with 0 whenever the service answered.
package main

import (
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/def"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	v1 "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/modelarts/v1"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/modelarts/v1/model"
)

type answer struct {
	Status    int     `json:"status"`
	ErrorCode *string `json:"error_code"`
	ErrorMsg  *string `json:"error_msg"`
	RequestID *string `json:"request_id"`
}

type batchRequest struct {
	Body *batchBody `json:"body,omitempty"`
}

type batchBody struct {
	Jobs []batchItem `json:"jobs"`
}

type batchItem struct {
	Kind     string        `json:"kind"`
	Metadata batchMetadata `json:"metadata"`
}

type batchMetadata struct {
	Id string `json:"id"`
}

type batchResponse struct {
	HttpStatusCode int `json:"-"`
}

func batchDelete(client *v1.ModelArtsClient, ids string) (int, error) {
	body := batchBody{Jobs: []batchItem{}}
	for _, id := range strings.FieldsFunc(ids, func(it rune) bool { return it == ',' }) {
		body.Jobs = append(body.Jobs, batchItem{"job", batchMetadata{id}})
	}
	definition := def.NewHttpRequestDefBuilder().
		WithMethod(http.MethodPost).
		WithPath("/v2/{project_id}/training-jobs/batch-delete").
		WithResponse(new(batchResponse)).
		WithContentType("application/json;charset=UTF-8").
		WithRequestField(def.NewFieldDef().WithName("Body").WithLocationType(def.Body)).
		Build()
	response, err := client.HcClient.Sync(&batchRequest{&body}, definition)
	if err != nil {
		return 0, err
	}
	return response.(*batchResponse).HttpStatusCode, nil
}

func call(client *v1.ModelArtsClient, what string) (int, error) {
	if ids, found := strings.CutPrefix(what, "batch:"); found {
		return batchDelete(client, ids)
	}
	if id, found := strings.CutPrefix(what, "get:"); found {
		response, err := client.ShowTrainingJobDetails(&model.ShowTrainingJobDetailsRequest{TrainingJobId: id})
		if err != nil {
			return 0, err
		}
		return response.HttpStatusCode, nil
	}
	response, err := client.DeleteTrainingJob(&model.DeleteTrainingJobRequest{TrainingJobId: what})
	if err != nil {
		return 0, err
	}
	return response.HttpStatusCode, nil
}

func ask(endpoint, projectID, what string) (answer, error) {
	credentials, err := basic.NewCredentialsBuilder().
		WithAk(os.Getenv("SDK_TEST_AK")).
		WithSk(os.Getenv("SDK_TEST_SK")).
		WithProjectId(projectID).
		SafeBuild()
	if err != nil {
		return answer{}, err
	}
	client, err := v1.ModelArtsClientBuilder().
		WithCredential(credentials).
		WithEndpoint(endpoint).
		SafeBuild()
	if err != nil {
		return answer{}, err
	}
	status, err := call(v1.NewModelArtsClient(client), what)
	var refused *sdkerr.ServiceResponseError
	switch {
	case err == nil:
		return answer{Status: status}, nil
	case errors.As(err, &refused):
		return answer{refused.StatusCode, &refused.ErrorCode, &refused.ErrorMessage, &refused.RequestId}, nil
	default:
		return answer{}, err
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: delete ENDPOINT PROJECT_ID WHAT")
	}
	result, err := ask(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}
