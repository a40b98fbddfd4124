//! A stand-in for the platform, faithful to its documented answers.
