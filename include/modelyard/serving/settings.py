"""The names of all that a server is told by its environment, for whoever starts one with an environment of its own."""

# Two of them hold credentials, the tokens and the headers for traces: the server takes those out of its environment
# before it starts the model's process. What says which model this is comes from the deployment, not from here.
SETTINGS = (
    "AIP_HEALTH_ROUTE",
    "AIP_HTTP_PORT",
    "AIP_PREDICT_ROUTE",
    "MODELYARD_ANSWER_SECONDS",
    "MODELYARD_DEADLINE_SECONDS",
    "MODELYARD_LEARNING_SECONDS",
    "MODELYARD_MOST_BODY_BYTES",
    "MODELYARD_OPEN_METRICS",
    "MODELYARD_PREDICTION_LOG",
    "MODELYARD_TOKENS",
    "MODELYARD_TOKENS_FILE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
)
