"""Deletes training jobs, or looks at one, with the official Python SDK, unmodified.

Usage: delete.py ENDPOINT PROJECT_ID WHAT, WHAT being a job to delete, `get:` and a job to look at, or
`batch:` and jobs to delete with one call, separated by commas; with the key in SDK_TEST_AK and SDK_TEST_SK, and in
SDK_TEST_CA the file of a CA to trust, if there is one.
Prints one line of JSON: status, error_code, error_msg, request_id; the last three are null when
the call was good. Exits with 0 whenever the service answered.
"""

import json
import os
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkmodelarts.v1 import BatchDeleteJobItem
from huaweicloudsdkmodelarts.v1 import BatchDeleteJobMetadata
from huaweicloudsdkmodelarts.v1 import BatchDeleteJobsReq
from huaweicloudsdkmodelarts.v1 import BatchDeleteTrainingJobRequest
from huaweicloudsdkmodelarts.v1 import DeleteTrainingJobRequest
from huaweicloudsdkmodelarts.v1 import ModelArtsClient
from huaweicloudsdkmodelarts.v1 import ShowTrainingJobDetailsRequest


def call(client, what):
    kind, colon, argument = what.rpartition(":")
    if kind == "get":
        return client.show_training_job_details(ShowTrainingJobDetailsRequest(training_job_id=argument))
    if kind == "batch":
        ids = [it for it in argument.split(",") if it]
        jobs = [BatchDeleteJobItem("job", BatchDeleteJobMetadata(it)) for it in ids]
        return client.batch_delete_training_job(BatchDeleteTrainingJobRequest(BatchDeleteJobsReq(jobs)))
    return client.delete_training_job(DeleteTrainingJobRequest(training_job_id=what))


def main():
    endpoint, project_id, what = sys.argv[1:]
    credentials = BasicCredentials(os.environ["SDK_TEST_AK"], os.environ["SDK_TEST_SK"], project_id)
    config = HttpConfig.get_default_config()
    config.ssl_ca_cert = os.environ.get("SDK_TEST_CA")
    # An endpoint and no region: with both, the SDK would fall back to the region's own endpoint.
    client = (
        ModelArtsClient.new_builder()
        .with_credentials(credentials)
        .with_endpoint(endpoint)
        .with_http_config(config)
        .build()
    )
    answer = {"status": None, "error_code": None, "error_msg": None, "request_id": None}
    try:
        response = call(client, what)
        answer["status"] = response.status_code
    except ServiceResponseException as error:
        answer["status"] = error.status_code
        answer["error_code"] = error.error_code
        answer["error_msg"] = error.error_msg
        answer["request_id"] = error.request_id
    print(json.dumps(answer))


main()
