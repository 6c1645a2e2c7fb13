//! Queries and jobs of picsift on a Ballista cluster.
