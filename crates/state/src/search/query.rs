//! Pages of hits.
