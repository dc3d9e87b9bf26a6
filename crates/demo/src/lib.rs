//! What the demo delivers and who uses it: a small real HTTP [`service`] with adjustable latency and error rate, and an
//! open-loop [`load`] generator. The service is also a program of its own, `demo-service`, which the demo puts into its images and
//! whose command line is read by [`arguments`]. Neither knows of releases; all that the pages show of them is measured by the splitter.

pub mod arguments;
pub mod load;
mod random;
pub mod service;
