//! The Runtime of one machine, over the splitter's control socket.
