//! The settings of what runs on a cluster: what a task knows of the query that it is part of.

use ballista_core::config::BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK;
use ballista_core::extension::{SessionConfigExt, SessionConfigHelperExt};
use ballista_core::serde::protobuf::KeyValuePair;
use datafusion::prelude::SessionConfig;

use crate::access::Access;

/// Of picsift's own, what an operator looks up while it runs. All else is in the plan by then.
const OWN: &str = "picsift.memory_limit";

/// What tasks begin with.
pub(crate) fn config(access: &Access) -> SessionConfig {
    let config = picsift_udf::with_settings(SessionConfig::new_with_ballista())
        // What one image does wrong would have several done again.
        .set_usize(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, 1);
    config.with_ballista_override_create_grpc_client_endpoint(access.on_endpoints())
}

/// The settings of a query for its tasks.
pub(crate) fn sent(query: &SessionConfig) -> Vec<KeyValuePair> {
    // Ballista's adaptive planning is of logical plans, and these are physical ones.
    let own =
        SessionConfig::new_with_ballista().set_usize(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, 1);
    let is_of = |key: &str, prefix: &str| key.starts_with(prefix);
    let of_query = query.options().entries().into_iter();
    let of_query = of_query.filter(|entry| is_of(&entry.key, "datafusion.") || entry.key == OWN);
    let of_cluster = own.options().entries().into_iter();
    let of_cluster = of_cluster.filter(|entry| is_of(&entry.key, "ballista."));
    let pairs = of_query
        .chain(of_cluster)
        .filter(|entry| entry.value.is_some());
    pairs
        .map(|entry| KeyValuePair {
            key: entry.key,
            value: entry.value,
        })
        .collect()
}

/// What queries are planned with that run on a cluster: without what holds in one process alone, and without a look at every file's footer.
/// Small tables are cut too, as their rows name images, which are what takes time.
pub fn planned(config: SessionConfig) -> SessionConfig {
    config
        .ballista_restricted_configuration()
        .with_collect_statistics(false)
        .with_repartition_file_min_size(1)
}
