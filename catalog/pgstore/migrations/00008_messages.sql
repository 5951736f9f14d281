-- +goose Up

-- What happened, in words for other systems. A row is written in the transaction
-- of the change itself, so that there is one exactly when the change is there.
create table announcements (
    id       uuid primary key, -- the webhook-id, the same at every attempt and every endpoint
    type     text not null check (type ~ '^[a-z_]+(\.[a-z_]+)+$'),
    subject  text not null,        -- id of the order, ticket or event
    once     text not null unique, -- what is said a second time is not said
    event_id uuid not null,        -- no reference: it outlives what it is about
    payload  jsonb not null,
    at       timestamptz not null default now(),
    owed     boolean not null -- somebody listens, and no deliveries were made yet
);
create index announcements_by_time on announcements (at, id);
create index announcements_owed on announcements (at) where owed;

-- Secrets stand here as they are: signing needs them.
create table webhook_endpoints (
    id             uuid primary key,
    url            text not null check (url <> ''),
    secret         bytea not null check (length(secret) between 24 and 64),
    secret_before  bytea,       -- signs too, until_before
    until_before   timestamptz,
    types          text[] not null default '{}', -- empty: all
    active         boolean not null default true,
    why_inactive   text not null default '',
    note           text not null default '',
    created_at     timestamptz not null default now(),
    check ((secret_before is null) = (until_before is null))
);

create table webhook_deliveries (
    id              uuid primary key,
    announcement_id uuid not null references announcements on delete cascade,
    endpoint_id     uuid not null references webhook_endpoints on delete cascade,
    status          text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
    attempts        integer not null default 0 check (attempts >= 0),
    last_status     integer, -- of HTTP; null: there was no answer
    last_error      text not null default '',
    next_at         timestamptz not null default now(), -- while pending: not before this
    delivered_at    timestamptz,
    created_at      timestamptz not null default now(),
    unique (announcement_id, endpoint_id),
    check ((status = 'delivered') = (delivered_at is not null))
);
create index webhook_deliveries_by_endpoint on webhook_deliveries (endpoint_id, id desc);
create index webhook_deliveries_pending on webhook_deliveries (next_at) where status = 'pending';

create table emails (
    id         uuid primary key, -- also in the Message-ID
    once       text not null unique,
    kind       text not null check (kind in ('confirmation', 'refund', 'cancellation', 'transfer', 'sign_in')),
    order_id   uuid references orders,
    recipient  text not null check (recipient <> '' and recipient !~ '[[:cntrl:]]'),
    data       jsonb not null default '{}',
    -- sending: a worker has it until next_at; skipped: there was no need, or no mail server
    status     text not null default 'pending' check (status in ('pending', 'sending', 'sent', 'failed', 'skipped')),
    attempts   integer not null default 0 check (attempts >= 0),
    last_error text not null default '',
    next_at    timestamptz not null default now(),
    sent_at    timestamptz,
    created_at timestamptz not null default now(),
    check (status <> 'sent' or sent_at is not null)
);
create index emails_by_order on emails (order_id, id desc) where order_id is not null;
create index emails_by_status on emails (status, id desc);
create index emails_open on emails (next_at) where status in ('pending', 'sending');

-- Rooms that closed by themselves since everything is sold: they are announced.
create index audit_log_sold_out on audit_log (at) where action = 'room.close' and actor = 'stock';

-- +goose Down
drop index audit_log_sold_out;
drop table emails, webhook_deliveries, webhook_endpoints, announcements;
