"""Views: records -> what a person or a pipe reads. The only place that knows Rich."""
