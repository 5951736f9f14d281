-- +goose Up

-- The catalog: what is on sale, where, and for how much.

create table venues (
    id         uuid primary key,
    name       text not null check (name <> ''),
    address    text not null default '',
    city       text not null default '',
    country    text not null default '' check (country = '' or country ~ '^[A-Z]{2}$'),
    timezone   text not null default 'UTC',
    created_at timestamptz not null default now(),
    unique (name, city)
);

create table artists (
    id         uuid primary key,
    name       text not null unique check (name <> ''),
    created_at timestamptz not null default now()
);

-- A seating plan as imported: geometry and categories, without prices.
create table plans (
    id         uuid primary key,
    name       text not null check (name <> ''),
    version    text not null unique, -- SHA-256 of the document, hex
    seats      integer not null check (seats >= 0),
    document   jsonb not null,
    created_at timestamptz not null default now()
);

create table events (
    id            uuid primary key,
    venue_id      uuid not null references venues,
    plan_id       uuid references plans,
    name          text not null check (name <> ''),
    type          text not null check (type <> ''),
    description   text not null default '',
    starts_at     timestamptz not null,
    doors_at      timestamptz,
    status        text not null default 'on_sale'
                  check (status in ('draft', 'on_sale', 'postponed', 'cancelled', 'ended')),
    currency      text not null check (currency ~ '^[A-Z]{3}$'),
    max_per_buyer integer not null check (max_per_buyer between 1 and 100),
    plan_view     jsonb not null, -- the drawn plan that browsers fetch, immutable per event
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now()
);
create index events_by_start on events (starts_at, id);
-- Creating the same event again would put the same seats on sale twice.
create unique index events_once on events (venue_id, starts_at, name);
create index events_by_name on events (lower(name) text_pattern_ops);

create table event_artists (
    event_id  uuid not null references events on delete cascade,
    artist_id uuid not null references artists,
    position  integer not null,
    primary key (event_id, artist_id)
);
create index event_artists_by_artist on event_artists (artist_id);

create table sections (
    id            uuid primary key,
    event_id      uuid not null references events on delete cascade,
    name          text not null,
    kind          text not null check (kind in ('seated', 'ga')),
    position      integer not null,
    first_ordinal integer not null check (first_ordinal >= 0),
    tickets       integer not null check (tickets >= 0),
    runs          integer[] not null, -- ordinals where a stretch of adjacent tickets of one tier begins
    unique (event_id, position)
);

create table price_tiers (
    id       uuid primary key,
    event_id uuid not null references events on delete cascade,
    name     text not null,
    type     text not null,
    color    text not null default '',
    amount   bigint not null check (amount >= 0), -- minor units of the event's currency
    position integer not null,
    tickets  integer not null check (tickets >= 0), -- how many have it
    unique (event_id, position)
);

-- A person who buys. Guests are keyed by their visitor.
create table users (
    id         uuid primary key,
    visitor    text unique,
    name       text not null default '',
    email      text not null default '',
    created_at timestamptz not null default now()
);

-- Money.

create table orders (
    id           uuid primary key,
    event_id     uuid not null references events,
    user_id      uuid not null references users,
    visitor      text not null,
    hold_id      text not null,
    status       text not null check (status in ('awaiting_payment', 'payment_unknown', 'declined', 'paid',
                 'fulfilled', 'expired', 'cancelled', 'refunded', 'partially_refunded')),
    currency     text not null check (currency ~ '^[A-Z]{3}$'),
    total_amount bigint not null check (total_amount >= 0),
    buyer_name   text not null,
    buyer_email  text not null,
    pay_by       timestamptz not null,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now()
);
-- One open order per hold, whatever clients and nodes do at once.
create unique index orders_open_hold on orders (event_id, hold_id)
    where status in ('awaiting_payment', 'payment_unknown', 'declined', 'paid', 'fulfilled');
create index orders_by_visitor on orders (visitor, event_id);
create index orders_by_time on orders (created_at desc, id desc);
create index orders_open on orders (pay_by)
    where status in ('awaiting_payment', 'payment_unknown', 'declined', 'paid');

-- One sellable unit of one event: a seat, or one unit of general admission.
create table tickets (
    id             uuid primary key,
    event_id       uuid not null references events on delete cascade,
    ordinal        integer not null check (ordinal >= 0),
    section_id     uuid not null references sections,
    tier_id        uuid not null references price_tiers,
    row_name       text not null default '',
    seat_name      text not null default '',
    type           text not null default 'standard', -- front_row, balcony, vip, accessible, standing …
    price_amount   bigint not null check (price_amount >= 0),
    status         text not null default 'available' check (status in ('available', 'reserved', 'purchased')),
    user_id        uuid references users,
    order_id       uuid references orders,
    reserved_until timestamptz,
    unique (event_id, ordinal),
    constraint tickets_state check (
        (status = 'available' and user_id is null and order_id is null and reserved_until is null) or
        (status = 'reserved' and user_id is not null and order_id is not null and reserved_until is not null) or
        (status = 'purchased' and user_id is not null and order_id is not null and reserved_until is null))
);
create index tickets_by_order on tickets (order_id) where order_id is not null;
create index tickets_by_user on tickets (user_id, event_id) where user_id is not null;

create table order_items (
    order_id     uuid not null references orders,
    ticket_id    uuid not null references tickets,
    price_amount bigint not null check (price_amount >= 0),
    sold         boolean not null default false,
    code         text unique, -- what the door scans, from the moment the order is fulfilled
    primary key (order_id, ticket_id)
);
-- The last line of defence: a ticket stands in at most one sold item.
create unique index order_items_sold_once on order_items (ticket_id) where sold;

-- Every change of an order, in order.
create table order_events (
    id       bigint generated always as identity primary key,
    order_id uuid not null references orders,
    status   text not null,
    note     text not null default '',
    at       timestamptz not null default now()
);
create index order_events_by_order on order_events (order_id, id);
create index order_events_by_time on order_events (at);

create table payments (
    id         uuid primary key, -- also the gateway's idempotency key
    order_id   uuid not null references orders,
    attempt    integer not null check (attempt > 0),
    gateway    text not null,
    method     text not null,
    status     text not null check (status in ('pending', 'requires_action', 'authorised', 'captured',
               'voiding', 'voided', 'declined', 'failed', 'refunding', 'refunded')),
    amount     bigint not null check (amount >= 0),
    currency   text not null,
    reason     text not null default '',
    action_url text not null default '', -- where the buyer has to act
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (order_id, attempt)
);
-- One attempt at a time may hold or take money for an order.
create unique index payments_one_live on payments (order_id)
    where status in ('pending', 'requires_action', 'authorised', 'captured');

-- What reconciliation looks for every few seconds.
create index payments_unfinished on payments (updated_at) where status in ('pending', 'authorised', 'voiding');

create table refunds (
    id         uuid primary key, -- also the gateway's idempotency key
    order_id   uuid not null references orders,
    payment_id uuid not null references payments,
    amount     bigint not null check (amount > 0),
    reason     text not null default '',
    status     text not null check (status in ('pending', 'done')),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index refunds_by_order on refunds (order_id);
create index refunds_unfinished on refunds (updated_at) where status = 'pending';

-- Answers to requests with an Idempotency-Key, written with their effect.
create table idempotency_keys (
    scope       text not null, -- who and what: visitor, method and path
    key         text not null,
    fingerprint text not null, -- SHA-256 of the request body, hex
    status      integer,       -- null while in flight
    body        bytea,
    lease_until timestamptz not null, -- an in-flight key whose holder died is free after this
    created_at  timestamptz not null default now(),
    primary key (scope, key),
    check ((status is null) = (body is null))
);
create index idempotency_keys_by_age on idempotency_keys (created_at);

-- The sandbox gateway's own books: another company's database in real life, so
-- nothing else may read or join it.
create table sandbox_payments (
    id             text primary key,
    method         text not null,
    status         text not null check (status in ('requires_action', 'authorised', 'captured', 'voided', 'declined')),
    amount         bigint not null,
    currency       text not null,
    refunded       bigint not null default 0 check (refunded between 0 and amount),
    failures_left  integer not null default 0, -- captures that will still fail
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now()
);
create table sandbox_refunds (
    id         text primary key,
    payment_id text not null references sandbox_payments,
    amount     bigint not null check (amount > 0)
);

-- The waiting room's checkpoint and what happened in it.

create table rooms (
    event_id        uuid primary key references events on delete cascade,
    state           text not null default 'open'
                    check (state in ('scheduled', 'lobby', 'open', 'paused', 'draining', 'closed')),
    reason          text not null default '',
    message         text not null default '',
    opens_at        timestamptz,
    lobby_opens_at  timestamptz,
    closes_at       timestamptz,
    rate_per_minute integer not null check (rate_per_minute between 0 and 1000000),
    burst           integer not null check (burst between 1 and 100000),
    max_shoppers    integer not null check (max_shoppers between 0 and 1000000),
    lease_s         integer not null check (lease_s between 10 and 86400),
    claim_window_s  integer not null check (claim_window_s between 5 and 3600),
    cursor          bigint not null default 0, -- checkpoint: highest place served
    next            bigint not null default 0, -- checkpoint: highest place given
    epoch           bigint not null default 1,
    updated_at      timestamptz not null default now()
);

create table admission_log (
    id       bigint generated always as identity primary key,
    event_id uuid not null references events on delete cascade,
    at       timestamptz not null,
    admitted integer not null check (admitted > 0),
    cursor   bigint not null
);
create index admission_log_by_event on admission_log (event_id, at);

create table audit_log (
    id       bigint generated always as identity primary key,
    at       timestamptz not null default now(),
    actor    text not null,
    action   text not null,
    subject  text not null,
    detail   jsonb not null default '{}'
);
create index audit_log_by_time on audit_log (at desc, id desc);

-- +goose Down
drop table audit_log, admission_log, rooms, sandbox_refunds, sandbox_payments, idempotency_keys, refunds, payments,
    order_events, order_items, tickets, orders, users, price_tiers, sections, event_artists, events, plans, artists, venues;
