//! Measures us beside a reference and prints ratios.
