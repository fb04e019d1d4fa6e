//! Durable writes of a monitor, in the order in which they were asked for, away from the loop.
//!
//! One thread takes jobs from a bounded queue: the runtime record first, then events, each synced as
//! its type demands. Whoever must not go on before something is on disk awaits the job; nobody else
//! waits. When the disk is full the VM runs on: the newest record and up to 64 events are kept and
//! tried again, and `status` says so.

use super::history::{self, Written};
use microagent_state::event_log::{Durability, EventLog};
use microagent_state::event_record::{Event, NewEvent};
use microagent_state::record_store::{self, Stored};
use microagent_state::{RuntimeRecord, WorkspacePaths};
use microagent_types::WorkspaceId;
use std::collections::VecDeque;
use std::thread::JoinHandle;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Jobs that wait for the disk.
const JOBS_MAX: usize = 64;
/// Events kept while they cannot be written; the oldest go.
const BACKLOG_EVENTS_MAX: usize = 64;

/// What came of a job.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// The events as they stand in the history, those kept from before included.
    pub(crate) events: Vec<Event>,
    /// Why something is not on disk; it is kept and tried again.
    pub(crate) error: Option<String>,
}

/// Where jobs are sent. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Recorder {
    jobs: mpsc::Sender<Job>,
    written: broadcast::Sender<Written>,
    thread: JoinHandle<Writer>,
}

struct Job {
    record: Option<Box<Stored<RuntimeRecord>>>,
    events: Vec<NewEvent>,
    done: oneshot::Sender<Committed>,
}

impl Recorder {
    /// Starts the thread.
    pub(crate) fn start(paths: WorkspacePaths, id: WorkspaceId) -> Self {
        let (sender, jobs) = mpsc::channel(JOBS_MAX);
        let written = history::teller();
        let told = written.clone();
        let thread = std::thread::spawn(move || Writer::new(paths, id, told).serve(jobs));
        Self {
            jobs: sender,
            written,
            thread,
        }
    }

    /// Puts a new thread in the place of the old one, which does what it was given and hands over. A
    /// thread keeps the rights of the moment when it was made; this takes them from the writer when
    /// the caller has given up some.
    pub(crate) fn renew(&mut self) {
        let (sender, jobs) = mpsc::channel(JOBS_MAX);
        // The old thread ends with its last sender.
        drop(std::mem::replace(&mut self.jobs, sender));
        // Only a thread that ended by a panic has no writer, and then nothing can be written.
        let (hand_over, old) = std::sync::mpsc::sync_channel::<JoinHandle<Writer>>(1);
        let thread = std::thread::spawn(move || {
            let old = old.recv().expect("the old thread is handed over at once");
            let writer = old.join().expect("the writer does not panic");
            writer.serve(jobs)
        });
        let old = std::mem::replace(&mut self.thread, thread);
        // The receiver lives until it has received.
        let _ = hand_over.send(old);
    }

    /// Every line from now on, as it is written.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Written> {
        self.written.subscribe()
    }

    /// Queues a record and events, record first, and returns what tells when they are on disk. Dropping
    /// that leaves the job as it is. An empty job tries again what is kept, and syncs.
    pub(crate) async fn commit(
        &self,
        record: Option<Stored<RuntimeRecord>>,
        events: Vec<NewEvent>,
    ) -> oneshot::Receiver<Committed> {
        let (done, committed) = oneshot::channel();
        let job = Job {
            record: record.map(Box::new),
            events,
            done,
        };
        // The thread lives as long as this sender.
        let _ = self.jobs.send(job).await;
        committed
    }
}

struct Writer {
    paths: WorkspacePaths,
    log: EventLog,
    told: broadcast::Sender<Written>,
    kept_record: Option<Box<Stored<RuntimeRecord>>>,
    kept_events: VecDeque<NewEvent>,
    unsynced: bool,
}

impl Writer {
    fn new(paths: WorkspacePaths, id: WorkspaceId, told: broadcast::Sender<Written>) -> Self {
        let log = EventLog::new(&paths, id);
        Self {
            paths,
            log,
            told,
            kept_record: None,
            kept_events: VecDeque::new(),
            unsynced: false,
        }
    }

    fn serve(mut self, mut jobs: mpsc::Receiver<Job>) -> Self {
        while let Some(job) = jobs.blocking_recv() {
            if job.record.is_some() {
                self.kept_record = job.record;
            }
            self.kept_events.extend(job.events);
            let committed = self.write_kept();
            // Whoever asked may not wait.
            let _ = job.done.send(committed);
        }
        self
    }

    fn write_kept(&mut self) -> Committed {
        let mut committed = Committed::default();
        if let Some(record) = self.kept_record.take()
            && let Err(error) = record_store::write(&self.paths.runtime_record(), &record)
        {
            tracing::error!(%error, "the runtime record was not written");
            committed.error = Some(error.to_string());
            self.kept_record = Some(record);
        }
        while let Some(event) = self.kept_events.front() {
            match self.log.append(event.clone(), Durability::ByType) {
                Ok(written) => {
                    self.unsynced |= event.kind.may_wait_for_sync();
                    if self.told.receiver_count() > 0 {
                        // Nobody is left when the last one has just gone.
                        let _ = self.told.send(Written::new(&written));
                    }
                    committed.events.push(written);
                    self.kept_events.pop_front();
                }
                Err(error) => {
                    tracing::error!(%error, "the history was not written");
                    committed.error = Some(error.to_string());
                    break;
                }
            }
        }
        if committed.events.is_empty() && committed.error.is_none() && self.unsynced {
            // An empty job: what was left to the batch is due.
            match self.log.sync() {
                Ok(()) => self.unsynced = false,
                Err(error) => committed.error = Some(error.to_string()),
            }
        }
        while self.kept_events.len() > BACKLOG_EVENTS_MAX {
            self.kept_events.pop_front();
        }
        committed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use microagent_os::{dirs, random};
    use microagent_state::StateDirectory;
    use microagent_state::event_record::EventType;
    use microagent_types::AbsPath;

    #[test]
    fn a_new_thread_goes_on_where_the_old_one_was() {
        let folder = tempfile::tempdir().unwrap();
        let root = AbsPath::try_from(folder.path()).unwrap();
        let paths = StateDirectory::at(&root).workspace(&"kept".parse().unwrap());
        dirs::ensure_private_all(paths.folder()).unwrap();
        let mut recorder = Recorder::start(paths, random::workspace_id());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let mut promised = Vec::new();
            for number in 0..20_u64 {
                if number % 5 == 4 {
                    recorder.renew();
                }
                let event = NewEvent::new(EventType::SessionOpened).with("number", number);
                promised.push(recorder.commit(None, vec![event]).await);
            }
            for (number, committed) in (1..).zip(promised) {
                let committed = committed.await.unwrap();
                assert_eq!(committed.error, None);
                let written: Vec<u64> = committed.events.iter().map(|event| event.seq).collect();
                assert_eq!(written, [number], "in order, and none twice");
            }
        });
    }
}
