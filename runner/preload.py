# The cycle collector rests while the server's packages are imported: it would
# go over thousands of objects again and again that stay anyway.
import gc
_collecting = gc.isenabled()
gc.disable()


# Imports what the server's own modules import from other packages, before
# workers are forked. None of these reads the deployment's variables; the
# server's own modules, which do, are left to the server.
def _preload():
    import importlib
    import logging
    try:
        from azureml_inference_server_http import amlserver, log_config
        load = amlserver.load_logging_config
    except (ImportError, AttributeError):  # an older server, with a log of another kind
        if _collecting:
            gc.enable()
        return

    def bring(*names):
        for name in names:
            try:
                importlib.import_module(name)
            except Exception:  # a server of another version does without it, or says itself what is wrong
                pass

    bring("pydantic", "pydantic_settings", "gunicorn.app.wsgiapp", "gunicorn.workers.sync")
    known = set(logging.root.manager.loggerDict)
    bring("psutil", "azure.monitor.opentelemetry.exporter", "opentelemetry.sdk.resources", "opentelemetry.semconv.resource",
          "opentelemetry.sdk.trace.export", "opentelemetry.sdk._logs.export", "opentelemetry.sdk.trace.sampling",
          "inference_schema.schema_util")
    if _collecting:
        gc.freeze()  # and back: all of it is old now, for the collector, and not looked at soon
        gc.unfreeze()
        gc.enable()

    # Setting up the server's log, which it does twice, switches off all loggers
    # there are by then. These would come later, and stay on.
    late = [found for name, found in list(logging.root.manager.loggerDict.items())
            if name not in known and isinstance(found, logging.Logger)]

    def sparing(*args, **kwargs):
        states = [(found, found.disabled) for found in late]
        try:
            return load(*args, **kwargs)
        finally:
            for found, disabled in states:
                found.disabled = disabled

    log_config.load_logging_config = amlserver.load_logging_config = sparing


