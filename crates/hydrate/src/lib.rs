//! The browser entry of the pages.
