"""The daemon in an environment: plan in, probes run, witness, spool, observations out."""
