"""Fine-tuning: what a run trains on and how, and the worker process that does it with TRL and PEFT."""
