"""Fine-tuning: what a declared fine-tune needs, the jobs that run it, and the code in their pods."""
