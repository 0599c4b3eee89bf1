// Deletes one training job with the official Go SDK, unmodified.
//
// Usage: delete ENDPOINT PROJECT_ID JOB_ID, with the key in SDK_TEST_AK and SDK_TEST_SK, and in
// SSL_CERT_FILE, which Go itself reads, the CA to trust. Prints one line of JSON: status,
// error_code, error_msg, request_id; the last three are null when the delete was accepted. Exits
// with 0 whenever the service answered.
package main

import (
	"encoding/json"
	"errors"
	"log"
	"os"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
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

func deleteJob(endpoint, projectID, jobID string) (answer, error) {
	credentials, err := basic.NewCredentialsBuilder().
		WithAk(os.Getenv("SDK_TEST_AK")).
		WithSk(os.Getenv("SDK_TEST_SK")).
		WithProjectId(projectID).
		SafeBuild()
	if err != nil {
		return answer{}, err
	}
	http, err := v1.ModelArtsClientBuilder().
		WithCredential(credentials).
		WithEndpoint(endpoint).
		SafeBuild()
	if err != nil {
		return answer{}, err
	}
	request := &model.DeleteTrainingJobRequest{TrainingJobId: jobID}
	response, err := v1.NewModelArtsClient(http).DeleteTrainingJob(request)
	var refused *sdkerr.ServiceResponseError
	switch {
	case err == nil:
		return answer{Status: response.HttpStatusCode}, nil
	case errors.As(err, &refused):
		return answer{refused.StatusCode, &refused.ErrorCode, &refused.ErrorMessage, &refused.RequestId}, nil
	default:
		return answer{}, err
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: delete ENDPOINT PROJECT_ID JOB_ID")
	}
	result, err := deleteJob(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}
