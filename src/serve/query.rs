//! A client's statement from its text to its rows, within what it may take.
//!
//! Plans are made and run by [`workers`](super::workers). A task of its own passes the rows on, so that bounds hold and counts go on however
//! slowly the client takes them and however busy the workers are; it ends with the client, and the work with it.
//! An end that was not reached is never taken for one: the last message says that all rows came.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::sql::parser::Statement as SqlStatement;
use futures::{Stream, StreamExt};
use picsift_udf::{FetchObserver, RunStats};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{interval, timeout};

use super::Server;
use super::budget::Spent;
use super::counts::Run;
use super::door::Client;
use super::quotas::Quotas;
use super::refusal::Refusal;
use super::rules::{MOST_SQL, refused};
use super::tenant::Tenant;
use crate::error::AppError;
use crate::listen::secret;
use crate::sql::{self, Parameter, Prepared, Session};

/// Batches that wait for a client.
const AHEAD: usize = 2;

/// Bytes of a batch that a statement's literals may take, each of which stands beside every row.
const LITERALS: usize = 64 << 20;

/// How often bounds are looked at and counts are added while no row comes.
const TICK: Duration = Duration::from_millis(100);

/// Characters of the name that logs have a request by.
const ID: usize = 12;

/// A statement that is planned and waits to run.
pub(super) struct Ready {
    prepared: Prepared,
    /// The columns of its rows.
    pub(super) schema: SchemaRef,
    /// Whether it gave all that it gives when it was planned, as SET does.
    pub(super) is_silent: bool,
    /// What logs call it.
    pub(super) id: String,
    /// What the client set by it, to be kept as its session.
    pub(super) set: Option<SessionContext>,
}

/// Tells the audit log what a request fetches.
#[derive(Debug)]
struct Audit {
    client: Arc<str>,
    id: String,
}

impl FetchObserver for Audit {
    fn fetched(&self, place: &str, came: Result<usize, &'static str>) {
        let (bytes, outcome) = match came {
            Ok(bytes) => (bytes, "ok"),
            Err(kind) => (0, kind),
        };
        tracing::info!(
            target: "picsift::audit",
            client = %self.client,
            query = %self.id,
            place,
            bytes,
            outcome,
            "image fetched"
        );
    }
}

/// Counters of a request whose fetches the audit log is told of.
pub(super) fn stats(client: &Client, id: &str) -> Arc<RunStats> {
    Arc::new(RunStats::observed(Arc::new(Audit {
        client: Arc::clone(&client.owner),
        id: id.to_string(),
    })))
}

/// A new name for a request in the logs.
///
/// # Errors
/// [`Refusal::Failed`] when the system has no random numbers.
pub(super) fn id() -> Result<String, Refusal> {
    let mut id = secret().map_err(|error| Refusal::of(&error, "random"))?;
    id.truncate(ID);
    Ok(id)
}

/// The statement that a text is, with its placeholders numbered.
///
/// # Errors
/// [`Refusal::Wrong`].
pub(super) fn parsed(sql: &str) -> Result<SqlStatement, Refusal> {
    if sql.len() > MOST_SQL {
        return Err(Refusal::Wrong(format!(
            "a statement has at most {MOST_SQL} bytes here"
        )));
    }
    let wrong = |error| Refusal::of(&error, "parse");
    // Its rows would be counted while it is planned, which nothing bounds.
    let mut statement = match sql::single(sql).map_err(wrong)?.rows() {
        Some(statement) => statement,
        None => return Err(refused("SUMMARIZE")),
    };
    sql::numbered(&mut statement).map_err(wrong)?;
    Ok(statement)
}

impl Server {
    /// What the client's tenant has.
    ///
    /// # Errors
    /// [`Refusal::Failed`].
    pub(super) async fn tenant(&self, client: &Client) -> Result<Arc<Tenant>, Refusal> {
        let tenant = self.tenants.get(&client.tenant).await;
        tenant.map_err(|error| Refusal::of(&error, &client.tenant))
    }

    /// The session that a client shows, or a new one as the tenant's begin.
    ///
    /// # Errors
    /// [`Refusal::Failed`].
    pub(super) async fn session(
        &self,
        client: &Client,
        shown: Option<&str>,
    ) -> Result<SessionContext, Refusal> {
        let known = shown.and_then(|handle| {
            self.sessions
                .with(&client.owner, handle, |session| session.clone())
        });
        match known {
            Some(session) => Ok(session),
            None => {
                let template = self.tenant(client).await?.template.state();
                Ok(SessionContext::new_with_state(template))
            }
        }
    }

    /// Plans a client's statement in a session. A setting is made at once.
    ///
    /// # Errors
    /// What is wrong with it, and what it may not do.
    pub(super) async fn prepare(
        &self,
        client: &Client,
        session: SessionContext,
        statement: SqlStatement,
        values: &[Parameter],
    ) -> Result<Ready, Refusal> {
        self.rules.check(&statement)?;
        client.budget.begin()?;
        let is_setting = !matches!(
            &statement,
            SqlStatement::Statement(inner)
                if !matches!(**inner, datafusion::sql::sqlparser::ast::Statement::Set(_))
        );
        let (id, engine) = (id()?, Arc::clone(&self.tenant(client).await?.engine));
        let text = statement.to_string();
        tracing::info!(
            target: "picsift::audit",
            client = %client.owner,
            query = %id,
            sql = %picsift_images::escaped(&picsift_images::redacted(&text)),
            "statement"
        );
        let (over, values) = (Session::over(session.clone(), engine), values.to_vec());
        // The semaphore is never closed.
        let turn = Arc::clone(&self.planning).acquire_owned().await.ok();
        let work = self.workers.begin(async move {
            let _turn = turn;
            let prepared = over.prepare_parsed(statement.into(), &values).await?;
            let reads = SQLOptions::new()
                .with_allow_ddl(false)
                .with_allow_dml(false);
            prepared.verify(&reads)?;
            Ok::<_, AppError>(prepared)
        });
        let started = Instant::now();
        let planned = tokio::select! {
            planned = timeout(self.rules.quotas.time, work) => planned,
            revoked = client.revoked() => return Err(revoked),
        };
        client.budget.spend(Spent {
            time: started.elapsed(),
            ..Spent::default()
        });
        let prepared = match planned {
            Ok(Some(prepared)) => prepared.map_err(|error| Refusal::of(&error, &id))?,
            Ok(None) => return Err(Refusal::Failed(id)),
            Err(_) => return Err(self.rules.quotas.late()),
        };
        let literals = text.len() + prepared.bound();
        let prepared = prepared.in_batches((LITERALS / literals.max(1)).max(1));
        Ok(Ready {
            schema: prepared.schema(),
            is_silent: prepared.is_silent(),
            prepared,
            id,
            set: is_setting.then_some(session),
        })
    }

    /// The right of a client to have one more request under way.
    ///
    /// # Errors
    /// [`Refusal::Exhausted`].
    pub(super) fn slot(&self, client: &Client) -> Result<OwnedSemaphorePermit, Refusal> {
        let slot = Arc::clone(&client.slots).try_acquire_owned();
        slot.map_err(|_| {
            Refusal::Exhausted(format!(
                "a token runs {} statements at once here; wait until one has ended",
                self.rules.quotas.at_once
            ))
        })
    }

    /// Runs a statement, whose rows then come.
    ///
    /// # Errors
    /// [`Refusal::Exhausted`] where the client runs too many already.
    pub(super) fn run(
        &self,
        client: &Arc<Client>,
        ready: Ready,
        way: &'static str,
    ) -> Result<Rows, Refusal> {
        let slot = self.slot(client)?;
        let stats = stats(client, &ready.id);
        let run = Run::begin(&self.metrics, way, Arc::clone(&stats), &client.budget);
        let (send, receive) = mpsc::channel(AHEAD);
        let (give, found) = mpsc::channel(1);
        let (prepared, schema) = (ready.prepared.counted(stats), Arc::clone(&ready.schema));
        let id = ready.id.clone();
        let work = self.workers.begin(async move {
            let last = match find(&prepared, &schema, &give, &id).await {
                Ok(()) => None,
                Err(refusal) => Some(Err(refusal)),
            };
            // Whoever reads may be gone.
            let _ = give.send(last).await;
        });
        let reading = Reading {
            client: Arc::clone(client),
            found,
            quotas: self.rules.quotas,
            id: ready.id.clone(),
            send,
        };
        tokio::spawn(async move {
            let (_slot, _work) = (slot, work);
            reading.through(run).await;
        });
        Ok(Rows {
            schema: ready.schema,
            id: ready.id,
            receive,
            ended: false,
        })
    }
}

/// What comes to whoever reads rows; `None` says that these were all.
type Message = Option<Result<RecordBatch, Refusal>>;

/// Runs a statement and gives its rows away, each batch under the schema that the client was told.
async fn find(
    prepared: &Prepared,
    schema: &SchemaRef,
    give: &mpsc::Sender<Message>,
    id: &str,
) -> Result<(), Refusal> {
    let results = prepared.run().await;
    let mut rows = results.map_err(|error| Refusal::of(&error, id))?.rows;
    while let Some(batch) = rows.next().await {
        let batch = batch.and_then(|batch| Ok(of_schema(batch, schema)?));
        let batch = batch.map_err(|error| Refusal::of_engine(&error, id))?;
        if give.send(Some(Ok(batch))).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The task that passes rows on.
struct Reading {
    client: Arc<Client>,
    found: mpsc::Receiver<Message>,
    quotas: Quotas,
    id: String,
    send: mpsc::Sender<Message>,
}

impl Reading {
    async fn through(mut self, mut run: Run) {
        let (gone, time, client) = (
            self.send.clone(),
            self.quotas.time,
            Arc::clone(&self.client),
        );
        let outcome = tokio::select! {
            biased;
            () = gone.closed() => return,
            revoked = client.revoked() => Ok(Err(revoked)),
            outcome = timeout(time, self.pass_on(&mut run)) => outcome,
        };
        let refusal = match outcome {
            Ok(Ok(Passed::All)) => None,
            Ok(Ok(Passed::Gone)) => return,
            Ok(Err(refusal)) => Some(refusal),
            Err(_) => Some(self.quotas.late()),
        };
        run.ended(refusal.as_ref().map_or("ok", Refusal::kind));
        // Before the client knows the end, so that whoever then asks for the counts finds them.
        drop(run);
        // A client that does not take the end is waited for no longer than any other.
        let _ = timeout(time, self.send.send(refusal.map(Err))).await;
    }

    /// Counts what is new, and looks whether the statement and its token may take it.
    fn check(&self, run: &mut Run, rows: u64) -> Result<(), Refusal> {
        run.add();
        self.quotas.check(run.stats(), rows)?;
        run.go_on()
    }

    async fn pass_on(&mut self, run: &mut Run) -> Result<Passed, Refusal> {
        let mut ticks = interval(TICK);
        let mut count = 0;
        loop {
            let next = tokio::select! {
                next = self.found.recv() => next,
                _ = ticks.tick() => {
                    self.check(run, count)?;
                    continue;
                }
            };
            let batch = match next {
                Some(Some(batch)) => batch?,
                Some(None) => return self.check(run, count).map(|()| Passed::All),
                // The work is gone without a word: it panicked.
                None => return Err(Refusal::Failed(self.id.clone())),
            };
            count += batch.num_rows() as u64;
            run.add_rows(batch.num_rows() as u64);
            self.check(run, count)?;
            if self.send.send(Some(Ok(batch))).await.is_err() {
                return Ok(Passed::Gone);
            }
        }
    }
}

/// How the passing on of rows ended, where nothing was refused.
enum Passed {
    All,
    /// The reader went away before the end.
    Gone,
}

/// The batch with the very schema that the client was told: plans may know more of their columns than their statements do.
fn of_schema(
    batch: RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns
        .map(
            |(column, field)| match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false => cast(column, field.data_type()),
            },
        )
        .collect::<Result<_, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)
}

/// The rows of a statement as they come. Dropped, it ends.
pub(super) struct Rows {
    pub(super) schema: SchemaRef,
    id: String,
    receive: mpsc::Receiver<Message>,
    ended: bool,
}

impl Stream for Rows {
    type Item = Result<RecordBatch, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let message = std::task::ready!(self.receive.poll_recv(context));
        let item = match message {
            Some(Some(Ok(batch))) => return Poll::Ready(Some(Ok(batch))),
            Some(Some(Err(refusal))) => Some(Err(refusal)),
            Some(None) => None,
            // The task is gone without a word: it panicked, and its rows are not all.
            None => Some(Err(Refusal::Failed(self.id.clone()))),
        };
        self.ended = true;
        Poll::Ready(item)
    }
}
