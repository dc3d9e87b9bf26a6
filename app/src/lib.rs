//! What people see: shell, routes, pages, server functions.
