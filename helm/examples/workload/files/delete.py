"""Deletes training jobs with the official SDK, through the gate beside this container.

Usage: delete.py JOB_ID…, with GATE and PROJECT in the environment.
"""

import os
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkmodelarts.v1 import DeleteTrainingJobRequest
from huaweicloudsdkmodelarts.v1 import ModelArtsClient

# The SDK wants a key. The gate looks at none: it knows the workload by its service account.
credentials = BasicCredentials("none", "none", os.environ["PROJECT"])
# An endpoint and no region: with both, the SDK would go around a gate that it cannot reach.
client = (
    ModelArtsClient.new_builder()
    .with_credentials(credentials)
    .with_endpoint(os.environ["GATE"])
    .build()
)
failed = False
for job in sys.argv[1:]:
    try:
        client.delete_training_job(DeleteTrainingJobRequest(training_job_id=job))
        print(f"{job}: deleted")
    except ServiceResponseException as error:
        print(f"{job}: {error.status_code} {error.error_code} {error.error_msg}")
        failed = True
sys.exit(failed)
