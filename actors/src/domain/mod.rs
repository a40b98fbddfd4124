//! What the engine thinks about: values and pure policies, no I/O and no actor in sight.
