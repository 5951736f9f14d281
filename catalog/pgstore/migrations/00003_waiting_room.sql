-- +goose Up

-- How people get their places, what they need to join, and what steers the rate.
alter table rooms
    add column by_stock      boolean not null default false, -- closed since everything was sold
    add column grace_s       integer not null default 120 check (grace_s between 0 and 86400),
    add column queue_order   text not null default 'fifo' check (queue_order in ('fifo', 'draw', 'random')),
    add column invite_only   boolean not null default false,
    add column bypass        boolean not null default false,
    add column challenge     text not null default 'off' check (challenge in ('off', 'pow')),
    add column cutoff        bigint not null default 0,
    add column autopilot     jsonb not null default '{}',
    add column draw_secret   text check (draw_secret ~ '^[0-9a-f]{64}$'), -- never changes once there
    add column public_source text not null default '',
    add column public_value  text not null default '',
    add column draw_n        bigint not null default 0,
    add column draw_base     bigint not null default 0,
    add column draw_digest   text not null default '',
    add column drawn_at      timestamptz,
    add column lobby_next    bigint not null default 0,
    add column lobby_digest  text not null default '',
    add column lived         boolean not null default false; -- has been in a store

-- Turns that were had, so that the loss of Redis gives nobody another one.
create table room_turns (
    event_id   uuid not null references events on delete cascade,
    epoch      bigint not null,
    visitor    text not null,
    state      text not null check (state in ('ready', 'shopping', 'expired', 'done', 'left')),
    lane       smallint not null check (lane between 0 and 5),
    place      bigint not null,
    missed     integer not null default 0,
    admitted   timestamptz,
    claimed    timestamptz,
    until      timestamptz,
    changed_at timestamptz not null,
    primary key (event_id, epoch, visitor)
);

-- What is said once only, by whoever says it first.
alter table audit_log add column once text unique;
create index audit_log_by_subject on audit_log (subject, id desc);

-- +goose Down
drop index audit_log_by_subject;
alter table audit_log drop column once;
drop table room_turns;
alter table rooms
    drop column by_stock, drop column grace_s, drop column queue_order, drop column invite_only, drop column bypass,
    drop column challenge, drop column cutoff, drop column autopilot, drop column draw_secret, drop column public_source,
    drop column public_value, drop column draw_n, drop column draw_base, drop column draw_digest, drop column drawn_at,
    drop column lobby_next, drop column lobby_digest, drop column lived;
