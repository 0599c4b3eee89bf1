"""Deletes old training jobs: lists them at ModelArts, deletes them through the gate beside it.

Environment: GATE, MODELARTS, PROJECT, DAYS. The key for listing comes from the SDK's provider chain
(the node's metadata service, the identity agent); it needs no right to delete, and should have none.
What may be deleted is the gate's policies' business: a refusal is printed and is no failure, nor is a job
that somebody else has deleted meanwhile.
"""

import os
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.auth.provider import CredentialProviderChain
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkmodelarts.v1 import DeleteTrainingJobRequest
from huaweicloudsdkmodelarts.v1 import JobSearches
from huaweicloudsdkmodelarts.v1 import ListTrainingJobsRequest
from huaweicloudsdkmodelarts.v1 import ModelArtsClient

FINISHED = ("Completed", "Failed", "Terminated", "Abnormal")
# The gate has decided: no, or that the job does not say what the policies ask for.
REFUSALS = (403, 409)
GONE = "ModelArts.2775"
PAGE = 50


def client(credentials, endpoint):
    # An endpoint and no region: with both, the SDK would go around a gate that it cannot reach.
    builder = ModelArtsClient.new_builder().with_credentials(credentials)
    return builder.with_endpoint(endpoint).build()


def finished_jobs(cloud, created_before):
    """IDs of finished jobs, from the oldest. The list is complete before anything is deleted."""
    found, page = [], 0
    while True:
        body = JobSearches(offset=page, limit=PAGE, sort_by="create_time", order="asc")
        items = cloud.list_training_jobs(ListTrainingJobsRequest(body=body)).items
        for job in items:
            if created_before < job.metadata.create_time:
                return found
            if job.status.phase in FINISHED:
                found.append(job.metadata.id)
        if len(items) < PAGE:
            return found
        page += 1


def main():
    project = os.environ["PROJECT"]
    reader = CredentialProviderChain.get_basic().get_credentials()
    reader.project_id = project
    cloud = client(reader, os.environ["MODELARTS"])
    # The SDK wants a key. The gate looks at none: it knows the workload by its service account.
    gate = client(BasicCredentials("none", "none", project), os.environ["GATE"])
    # ModelArts counts milliseconds.
    created_before = int((time.time() - 86400 * float(os.environ["DAYS"])) * 1000)
    failed = False
    for job in finished_jobs(cloud, created_before):
        try:
            gate.delete_training_job(DeleteTrainingJobRequest(training_job_id=job))
            print(f"{job}: deleted")
        except ServiceResponseException as error:
            print(f"{job}: {error.status_code} {error.error_code} {error.error_msg}")
            failed = failed or error.status_code not in REFUSALS and error.error_code != GONE
    sys.exit(failed)


main()
