"""Every method of the paper's ablation, trained alike and compared."""
