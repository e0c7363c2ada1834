"""Everything that `killcord doctor` asks, in the order in which an on-call should hear of it."""

from __future__ import annotations

from typing import Final

from monitor.doctor import access, configuration, kills, logs, places, process, runtime, store
from monitor.doctor.finding import Check

CHECKS: Final = (
    Check("daemon", "Does the daemon run?", process.daemon),
    Check("port", "Could a daemon listen?", process.port),
    Check("answers", "Does the daemon answer?", process.answers),
    Check("ready", "Is the daemon ready?", process.ready),
    Check("events", "Did something happen that should not?", process.blind_spots),
    Check("store", "Does the store answer?", store.reachable),
    Check("store-version", "Is the store new enough?", store.version),
    Check("store-persistence", "Does a kill survive a restart of the store?", store.persistence),
    Check("store-eviction", "Could the store throw a kill away?", store.eviction),
    Check("store-users", "Who may write to the store?", store.users),
    Check("store-clock", "Do the clocks agree?", store.clock),
    Check("points", "Would anybody enforce a kill?", kills.points),
    Check("drill", "What did the last drill show?", kills.last_drill),
    Check("kept-kills", "Does a kill wait?", kills.kept_kills),
    Check("keys", "Who may restore?", kills.keys),
    Check("state", "Is the state directory its owner's alone?", places.state_directory),
    Check("secrets", "Are the secrets private?", places.secrets),
    Check("disk-space", "Is there room on the disk?", places.disk_space),
    Check("inodes", "Can files be made?", places.inodes),
    Check("disk-sync", "How fast does the disk keep something?", places.sync_latency),
    Check("config", "Is the configuration valid?", configuration.config_file),
    Check("config-values", "Is a value dangerous?", configuration.dangerous_values),
    Check("tokens", "Can sensors and people get in?", access.tokens),
    Check("certificate", "Is the certificate valid?", access.certificate),
    Check("action-log", "Is the action log whole?", logs.action_log),
    Check("feed-log", "Is the feed's log whole?", logs.feed_log),
    Check("audit-log", "Is the audit trail whole?", logs.audit_log),
    Check("checkpoint", "Does the next start go on from the models?", logs.checkpoint),
    Check("dead-letters", "Are actions refused?", logs.dead_letters),
    Check("packages", "Is everything installed?", runtime.packages),
    Check("kernels", "Are the models compiled?", runtime.kernels),
)
