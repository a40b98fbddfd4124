//! Sealing of session keys with the key ring.
