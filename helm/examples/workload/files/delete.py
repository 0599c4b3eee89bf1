"""Deletes training jobs with the official SDK, through the gate beside this container.

Usage: delete.py JOB_ID…, with GATE and PROJECT in the environment. Ends with 0 when all are gone, with 1
when a repeat may help, and with 3 when the gate has refused the rest: job.yaml repeats that one not.
"""

import os
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkmodelarts.v1 import DeleteTrainingJobRequest
from huaweicloudsdkmodelarts.v1 import ModelArtsClient

REFUSALS = (403, 409)
GONE = "ModelArts.2775"

# The SDK wants a key. The gate looks at none: it knows the workload by its service account.
credentials = BasicCredentials("none", "none", os.environ["PROJECT"])
# An endpoint and no region: with both, the SDK would go around a gate that it cannot reach.
client = (
    ModelArtsClient.new_builder()
    .with_credentials(credentials)
    .with_endpoint(os.environ["GATE"])
    .build()
)
failed = refused = False
for job in sys.argv[1:]:
    try:
        client.delete_training_job(DeleteTrainingJobRequest(training_job_id=job))
        print(f"{job}: deleted")
    except ServiceResponseException as error:
        print(f"{job}: {error.status_code} {error.error_code} {error.error_msg}")
        if error.status_code in REFUSALS:
            refused = True
        elif error.error_code != GONE:
            failed = True
sys.exit(1 if failed else 3 if refused else 0)
