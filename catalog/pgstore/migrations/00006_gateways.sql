-- +goose Up

-- What a gateway calls our payments. Only its adapter reads this. A payment need
-- not be known yet: a void may come before it.
create table payment_references (
    gateway    text not null,
    payment_id text not null,
    reference  text not null check (reference <> ''),
    created_at timestamptz not null default now(),
    primary key (gateway, payment_id)
);

-- From here on the sandbox's own books again.
alter table sandbox_payments
    add column order_id        text not null default '',
    add column captured        bigint not null default 0,
    add column void_failures   integer not null default 0,
    add column refund_failures integer not null default 0;
update sandbox_payments set captured = amount where status = 'captured';
alter table sandbox_payments
    add check (captured between 0 and amount),
    add check (refunded <= captured),
    add check ((status = 'captured') = (captured > 0) or amount = 0);
create index sandbox_refunds_by_payment on sandbox_refunds (payment_id);

-- How often each call was made with a key, so that a fault by chance is the
-- chance of one call, and the next try may do better. Empty without faults.
create table sandbox_calls (
    key   text not null,
    call  text not null,
    tries integer not null default 1,
    primary key (key, call)
);

-- Webhooks that the sandbox still has to send.
create table sandbox_webhooks (
    id         bigint generated always as identity primary key,
    event      uuid not null,
    payment_id text not null references sandbox_payments on delete cascade,
    refund_id  text not null default '',
    type       text not null,
    created_at timestamptz not null default now(),
    due        timestamptz not null default now(),
    tries      integer not null default 0
);
create index sandbox_webhooks_by_due on sandbox_webhooks (due);

-- +goose Down
drop table sandbox_webhooks, sandbox_calls, payment_references;
drop index sandbox_refunds_by_payment;
alter table sandbox_payments
    drop column order_id, drop column captured, drop column void_failures, drop column refund_failures;
