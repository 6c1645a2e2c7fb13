//! Tenants: each with an engine and a session to copy of its own, made when it first asks.
//!
//! Kept answers tell by how soon they come that somebody has asked before, and a picture that takes a process over that decodes sees what
//! the process decodes after it. So neither is shared between tenants. Models are, as is the memory of sorts and joins.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::common::config::ExtensionOptions;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::prelude::SessionContext;
use picsift_images::Bucket;
use picsift_udf::{Engine, EngineOptions, PicsiftOptions};
use picsift_vision::store::{Store, StoreOptions};
use tokio::sync::OnceCell;

use super::ServeOptions;
use super::bounded::BoundedCopies;
use super::catalog::{Place, PlaceSchema, WholeSchema};
use super::yielding::Yielding;
use crate::error::AppError;
use crate::session::{self, CATALOG, PUBLIC, Shared};
use crate::sql::choose_model;

/// Most bytes that the statements of one tenant put on the disk for want of memory.
const SPILLED_BYTES: u64 = 16 << 30;

/// One tenant.
pub(super) struct Tenant {
    pub(super) engine: Arc<Engine>,
    /// What each session begins as.
    pub(super) template: SessionContext,
    pub(super) schemas: Vec<Arc<PlaceSchema>>,
}

/// What is known of a tenant before it asks.
struct Known {
    /// Whose turn it is at the models when it is this tenant's.
    share: u64,
    /// What it may read.
    places: Vec<Place>,
    /// Itself, once it has asked.
    made: OnceCell<Arc<Tenant>>,
}

/// All of them.
pub(super) struct Tenants {
    each: RwLock<BTreeMap<String, Arc<Known>>>,
    models: Arc<Engine>,
    shared: Shared,
    options: ServeOptions,
}

impl Tenants {
    /// Those with these names, each with the places that it may read, which share the models of an engine.
    ///
    /// # Errors
    /// [`AppError::Usage`] for places that have one name, and a tenant's that are not there.
    pub(super) fn new(
        tenants: BTreeMap<String, Option<Vec<String>>>,
        models: Arc<Engine>,
        options: ServeOptions,
    ) -> Result<Self, AppError> {
        let places = &options.places;
        for (at, place) in places.iter().enumerate() {
            if places[..at]
                .iter()
                .any(|one| one.name.eq_ignore_ascii_case(&place.name))
            {
                return Err(AppError::Usage(format!(
                    "two places have the name '{}'",
                    place.name
                )));
            }
            let bucket = |place: &Place| Bucket::of(&place.root);
            let other = places[..at].iter().find(|other| {
                bucket(place).is_some()
                    && bucket(place) == bucket(other)
                    && place.keys != other.keys
            });
            if let Some(other) = other {
                return Err(AppError::Usage(format!(
                    "'{}' and '{}' are in one bucket, which has one set of keys: give both the same",
                    other.name, place.name
                )));
            }
        }
        let all = Self {
            each: RwLock::default(),
            models,
            shared: Shared {
                memory: Arc::new(FairSpillPool::new(options.memory)),
                spilled_bytes: SPILLED_BYTES,
            },
            options,
        };
        all.change(&tenants)?;
        Ok(all)
    }

    /// Knows these alone from now on. One that may read other places than before is made anew when it next asks.
    ///
    /// # Errors
    /// [`AppError::Usage`] for places that are not there; nothing is changed then.
    pub(super) fn change(
        &self,
        tenants: &BTreeMap<String, Option<Vec<String>>>,
    ) -> Result<(), AppError> {
        // What is behind the lock is always whole.
        let mut each = self.each.write().unwrap_or_else(PoisonError::into_inner);
        let mut free = each
            .values()
            .map(|known| known.share + 1)
            .max()
            .unwrap_or(0);
        let mut now = BTreeMap::new();
        for (tenant, folders) in tenants {
            let places = self.places(tenant, folders.as_deref())?;
            let before = each.get(tenant);
            let known = match before {
                Some(known) if known.places == places => Arc::clone(known),
                _ => {
                    let share = before.map_or(free, |known| known.share);
                    free += u64::from(before.is_none());
                    Arc::new(Known {
                        share,
                        places,
                        made: OnceCell::new(),
                    })
                }
            };
            now.insert(tenant.clone(), known);
        }
        *each = now;
        Ok(())
    }

    /// The places that a tenant may read.
    fn places(&self, tenant: &str, folders: Option<&[String]>) -> Result<Vec<Place>, AppError> {
        let places = &self.options.places;
        let Some(names) = folders else {
            return Ok(places.clone());
        };
        let place = |name: &String| {
            let found = places.iter().find(|place| place.name == *name);
            found.cloned().ok_or_else(|| {
                AppError::Usage(format!(
                    "the tenant '{tenant}' may read '{name}', which no --allow-folder and no --allow-bucket names"
                ))
            })
        };
        names.iter().map(place).collect()
    }

    /// The tenant of this name, which the door knows.
    ///
    /// # Errors
    /// When its engine or its store of answers cannot be had.
    pub(super) async fn get(&self, name: &str) -> Result<Arc<Tenant>, AppError> {
        let known = {
            let each = self.each.read().unwrap_or_else(PoisonError::into_inner);
            each.get(name).map(Arc::clone)
        };
        let Some(known) = known else {
            return Err(AppError::Usage(format!("there is no tenant '{name}'")));
        };
        let made = known.made.get_or_try_init(|| async {
            let make = || self.make(name, known.share, &known.places);
            tokio::task::block_in_place(make).map(Arc::new)
        });
        made.await.map(Arc::clone)
    }

    fn make(&self, name: &str, share: u64, places: &[Place]) -> Result<Tenant, AppError> {
        let store = match &self.options.answers {
            None => None,
            Some(answers) => Some(Store::open(StoreOptions {
                folder: answers.folder.join(name),
                ..answers.clone()
            })?),
        };
        let mut policy = self.options.engine.policy.clone();
        policy.folders.clear();
        policy.buckets = places
            .iter()
            .filter_map(|place| Bucket::of(&place.root))
            .collect();
        policy.keys = places
            .iter()
            .filter_map(|place| place.keys.clone())
            .collect();
        policy.within = Some(places.iter().map(|place| place.root.clone()).collect());
        let engine = Arc::new(self.models.beside(EngineOptions {
            policy,
            store,
            share: Some(share),
            ..self.options.engine.clone()
        })?);
        let template =
            session::of_clients(&engine, session::cores(), &self.shared).map_err(AppError::Plan)?;
        let state = SessionStateBuilder::new_from_existing(template.state())
            .with_physical_optimizer_rule(Arc::new(Yielding))
            .with_analyzer_rule(Arc::new(BoundedCopies))
            .build();
        let template = SessionContext::new_with_state(state);
        choose_model(&template, &self.options.model, None).map_err(AppError::Plan)?;
        self.bound(&template).map_err(AppError::Plan)?;
        let reader = Arc::new(template.state());
        let schemas: Vec<_> = places
            .iter()
            .map(|place| Arc::new(PlaceSchema::new(place.clone(), Arc::clone(&reader))))
            .collect();
        let catalog = MemoryCatalogProvider::new();
        let registered = (schemas.iter().zip(places))
            .try_for_each(|(schema, place)| {
                catalog
                    .register_schema(&place.name, Arc::clone(schema) as _)
                    .map(drop)
            })
            .and_then(|()| {
                let whole = WholeSchema(schemas.clone());
                catalog.register_schema(PUBLIC, Arc::new(whole)).map(drop)
            });
        registered.map_err(AppError::Plan)?;
        template.register_catalog(CATALOG, Arc::new(catalog));
        Ok(Tenant {
            engine,
            template,
            schemas,
        })
    }

    /// What a statement may ask, as settings of its session.
    fn bound(&self, template: &SessionContext) -> datafusion::common::Result<()> {
        let state = template.state_ref();
        let mut state = state.write();
        let options = state.config_mut().options_mut();
        if let Some(settings) = options.extensions.get_mut::<PicsiftOptions>() {
            let quotas = &self.options.quotas;
            settings.set("max_images", &quotas.images.to_string())?;
            settings.set("max_seconds", &quotas.time.as_secs_f64().to_string())?;
            settings.keep_as_defaults();
        }
        Ok(())
    }
}
