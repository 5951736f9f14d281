-- +goose Up

-- Whether the door takes only codes that change by the quarter of a minute.
alter table events add column rotating_codes boolean not null default false;

-- What lets one person in on one ticket: the code that the door scans, whose it
-- is, and what became of it. A transfer ends one and begins another.
create table admissions (
    id           uuid primary key,
    order_id     uuid not null,
    ticket_id    uuid not null,
    event_id     uuid not null references events,
    previous_id  uuid unique references admissions, -- whose transfer made it; null: issued with the order
    code         text not null unique check (code ~ '^([0-9A-Z]{4}-){3}[0-9A-Z]{4}$'),
    holder_name  text not null check (holder_name <> ''),
    holder_email text not null check (holder_email <> ''),
    secret       bytea not null check (octet_length(secret) = 32), -- of the rotating code
    issued_at    timestamptz not null default clock_timestamp(),
    ended_at     timestamptz check (ended_at >= issued_at),
    end_reason   text check (end_reason in ('transferred', 'refunded', 'cancelled', 'exchanged')),
    scanned_at   timestamptz check (scanned_at >= issued_at),
    scanned_by   text,
    scanned_gate text,
    scan_id      text, -- by which the scanner knows its scan again
    foreign key (order_id, ticket_id) references order_items,
    constraint admissions_end check ((ended_at is null) = (end_reason is null)),
    constraint admissions_scan check (
        (scanned_at is null and scanned_by is null and scanned_gate is null and scan_id is null) or
        (scanned_at is not null and scanned_by is not null and scanned_gate is not null and scan_id is not null)),
    -- Nobody gets in on what has ended, and who got in passes nothing on.
    constraint admissions_scan_in_life check (scanned_at <= ended_at),
    constraint admissions_scan_or_transfer check (scanned_at is null or end_reason is distinct from 'transferred'));
-- One live code per ticket.
create unique index admissions_one_live on admissions (ticket_id) where ended_at is null;
create index admissions_by_order on admissions (order_id);
create index admissions_by_event on admissions (event_id, id);

insert into admissions (id, order_id, ticket_id, event_id, code, holder_name, holder_email, secret, issued_at)
select gen_random_uuid(), i.order_id, i.ticket_id, o.event_id, regexp_replace(i.code, '^(.{4})(.{4})(.{4})(.{4})$', '\1-\2-\3-\4'),
       o.buyer_name, o.buyer_email, decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'), o.updated_at
from order_items i join orders o on o.id = i.order_id where i.code is not null;

alter table order_items drop column code;

-- +goose Down
alter table order_items add column code text unique;
update order_items i set code = replace(a.code, '-', '')
from admissions a where a.order_id = i.order_id and a.ticket_id = i.ticket_id and a.ended_at is null;
drop table admissions;
alter table events drop column rotating_codes;
