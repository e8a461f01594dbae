//! What the importer makes of small models, and what it refuses.
