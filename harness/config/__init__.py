"""What people write: manifests, benchmarks, budgets and threat models, read and checked."""
