//! Who may do what: roles, login links, sessions, tokens.
