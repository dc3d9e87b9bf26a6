//! Canary verdicts as pure functions: ticks in, evidence and verdict out.
