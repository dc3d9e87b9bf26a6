//! What the demo delivers and who uses it: a small real HTTP [`service`] with adjustable latency and error rate, and an
//! open-loop [`load`] generator. Neither knows of releases; all that the pages show of them is measured by the splitter.

pub mod load;
mod random;
pub mod service;
