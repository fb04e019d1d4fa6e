//! The library: a file and a public function for each use case.
