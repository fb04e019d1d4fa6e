//! One request to one response; the monitor; the backend traits.
