//! Joules of an operation: measured by powercap or modelled from CPU time.
