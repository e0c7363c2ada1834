"""What drives the pipeline: the embedded engine in one process, or Faust workers on Kafka. The core knows neither."""
