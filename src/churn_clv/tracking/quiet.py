"""Settings that MLflow reads when it is imported, so this module comes first. A user's own settings win."""

import os

# No telemetry; no code from artifacts, as a second line of defence; no progress bars nor stories of Alembic and pip.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # A server that is gone is given half a minute to come back, not four: the run is kept on disk meanwhile.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}.items():
    os.environ.setdefault(_name, _value)
