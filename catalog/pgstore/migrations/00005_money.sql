-- +goose Up

-- What an event charges besides the prices of its tickets, and what it gives back.
alter table events
    add column fee_per_ticket  bigint not null default 0 check (fee_per_ticket >= 0), -- minor units
    add column fee_per_order   bigint not null default 0 check (fee_per_order >= 0),
    add column tax_name        text not null default '',
    add column tax_rate        integer not null default 0 check (tax_rate between 0 and 100000), -- thousandths of a percent
    add column tax_included    boolean not null default true, -- prices and fees contain it; otherwise it comes on top
    add column cancel_until_h  integer check (cancel_until_h between 0 and 8760), -- buyers may cancel until so many hours before; null: never
    add column cancel_keeps_fees boolean not null default true;

-- A promo code takes something off an order. Its limits hold whatever comes at once:
-- a use is counted in the transaction of its order.
create table promo_codes (
    id         uuid primary key,
    event_id   uuid not null references events on delete cascade,
    code       text not null check (code ~ '^[A-Z0-9-]{3,32}$'),
    kind       text not null check (kind in ('percent', 'amount')),
    value      bigint not null check (value > 0), -- percent: thousandths of a percent of the tickets; amount: minor units per order
    max_uses   integer check (max_uses > 0),      -- orders; null: no limit
    per_buyer  integer check (per_buyer > 0),
    used       integer not null default 0 check (used >= 0),
    starts_at  timestamptz,
    ends_at    timestamptz,
    active     boolean not null default true,
    note       text not null default '',
    created_at timestamptz not null default now(),
    unique (event_id, code),
    constraint promo_codes_limit check (max_uses is null or used <= max_uses),
    constraint promo_codes_percent check (kind <> 'percent' or value <= 100000)
);

-- What an order costs, item by item: the numbers that page, receipt and refund share.
alter table orders
    add column fee_amount      bigint not null default 0 check (fee_amount >= 0),     -- of the order; its items have their own
    add column fee_tax_amount  bigint not null default 0 check (fee_tax_amount >= 0), -- contained or on top, as tax_included says
    add column fee_total       bigint not null default 0,
    add column tax_name        text not null default '',
    add column tax_rate        integer not null default 0 check (tax_rate between 0 and 100000),
    add column tax_included    boolean not null default true,
    add column promo_id        uuid references promo_codes,
    add column promo_code      text not null default '',
    add column refunded_amount bigint not null default 0,
    add constraint orders_fee check (fee_total = fee_amount + case when tax_included then 0 else fee_tax_amount end),
    add constraint orders_refunded check (refunded_amount between 0 and total_amount);
create index orders_by_promo on orders (promo_id, user_id) where promo_id is not null;
create index orders_by_event on orders (event_id);
-- Ids are UUIDv7: the primary key has orders by time.
drop index orders_by_time;

alter table order_items
    add column discount_amount bigint not null default 0,
    add column fee_amount      bigint not null default 0 check (fee_amount >= 0),
    add column tax_amount      bigint not null default 0 check (tax_amount >= 0),
    add column tax_included    boolean not null default true,
    add column total_amount    bigint,
    add column returned_at     timestamptz, -- when the ticket went back on sale
    add column exchanged       boolean not null default false; -- for others of the order
update order_items set total_amount = price_amount;
alter table order_items
    alter column total_amount set not null,
    add constraint order_items_discount check (discount_amount between 0 and price_amount),
    add constraint order_items_total check (
        total_amount = price_amount - discount_amount + fee_amount + case when tax_included then 0 else tax_amount end);

-- A payment remembers what went back, and when somebody has to do something about it
-- next: while it is open there always is such a time, so that none is forgotten
-- whatever becomes of the jobs. What is over is compared with the gateway's books.
alter table payments
    add column refunded_amount bigint not null default 0,
    add column look_at         timestamptz,
    add column looks           integer not null default 0, -- that failed
    add column last_error      text not null default '',   -- of the last of these
    add column checked_at      timestamptz,
    add column compare_at      timestamptz; -- not before, since it failed or somebody is at it
update payments set look_at = now() where status in ('pending', 'requires_action', 'authorised', 'voiding');
update payments set refunded_amount = amount where status in ('refunding', 'refunded');
update payments set status = 'captured' where status = 'refunding';
drop index payments_unfinished;
alter table payments
    drop constraint payments_status_check,
    add constraint payments_status_check check (status in ('pending', 'requires_action', 'authorised', 'captured',
        'voiding', 'voided', 'declined', 'failed', 'refunded')),
    add constraint payments_refunded check (refunded_amount between 0 and amount),
    add constraint payments_watched check (
        (look_at is not null) = (status in ('pending', 'requires_action', 'authorised', 'voiding')));
create index payments_look on payments (look_at) where look_at is not null;
create index payments_unchecked on payments (updated_at) where checked_at is null and look_at is null;

drop index refunds_unfinished;
alter table refunds
    add column actor      text not null default '',
    add column look_at    timestamptz default now(),
    add column looks      integer not null default 0,
    add column last_error text not null default '';
update refunds set look_at = null where status <> 'pending';
alter table refunds add constraint refunds_watched check ((look_at is not null) = (status = 'pending'));
create index refunds_look on refunds (look_at) where look_at is not null;

-- Which tickets a refund took back, and what was paid back for each.
create table refund_items (
    refund_id uuid not null references refunds,
    order_id  uuid not null,
    ticket_id uuid not null,
    amount    bigint not null check (amount >= 0),
    primary key (refund_id, ticket_id),
    foreign key (order_id, ticket_id) references order_items
);

-- What was found when our books were compared with the gateway's.
create table reconciliations (
    id         bigint generated always as identity primary key,
    at         timestamptz not null default now(),
    payment_id uuid not null references payments,
    ours       text not null, -- status of the payment
    theirs     text not null, -- state at the gateway
    action     text not null  -- what was done about it
);
create index reconciliations_by_time on reconciliations (at desc, id desc);

-- A cancelled event gives everything back. What is left to do follows from the
-- orders themselves, so it can be stopped and taken up at any point.
create table event_cancellations (
    event_id    uuid primary key references events on delete cascade,
    reason      text not null default '',
    actor       text not null,
    keep_fees   boolean not null default false,
    started_at  timestamptz not null default now(),
    finished_at timestamptz
);
create index event_cancellations_open on event_cancellations (event_id) where finished_at is null;

-- The state machines, kept by the database as well: checkout/order.go has the same
-- tables, and a test compares the two.
-- +goose StatementBegin
create function order_may_become(was text, becomes text) returns boolean immutable parallel safe language sql as $$
    select case was
        when 'awaiting_payment' then becomes in ('payment_unknown', 'paid', 'declined', 'expired', 'cancelled')
        when 'payment_unknown' then becomes in ('paid', 'declined', 'awaiting_payment', 'cancelled', 'expired')
        when 'declined' then becomes in ('payment_unknown', 'expired', 'cancelled')
        when 'paid' then becomes in ('fulfilled', 'cancelled', 'refunded', 'partially_refunded')
        when 'fulfilled' then becomes in ('refunded', 'partially_refunded')
        when 'partially_refunded' then becomes in ('refunded')
        else false
    end
$$;
-- +goose StatementEnd
-- +goose StatementBegin
create function payment_may_become(was text, becomes text) returns boolean immutable parallel safe language sql as $$
    select case was
        when 'pending' then becomes in ('requires_action', 'authorised', 'declined', 'failed', 'voiding')
        when 'requires_action' then becomes in ('authorised', 'declined', 'failed', 'voiding')
        when 'authorised' then becomes in ('captured', 'voiding')
        when 'captured' then becomes in ('refunded')
        when 'voiding' then becomes in ('voided')
        when 'voided' then becomes in ('voiding')
        when 'declined' then becomes in ('voiding')
        when 'failed' then becomes in ('voiding')
        else false
    end
$$;
-- +goose StatementEnd
-- +goose StatementBegin
create function refuse_transition() returns trigger language plpgsql as $$
begin
    raise exception '% % cannot become % from %', tg_table_name, new.id, new.status, old.status
        using errcode = 'check_violation', constraint = tg_name;
end
$$;
-- +goose StatementEnd
create trigger orders_transition before update of status on orders for each row
    when (old.status <> new.status and not order_may_become(old.status, new.status))
    execute function refuse_transition();
create trigger payments_transition before update of status on payments for each row
    when (old.status <> new.status and not payment_may_become(old.status, new.status))
    execute function refuse_transition();

-- An order is paid whole or not at all: with money reserved or taken for all of it,
-- and with every ticket the buyer's. Looked at when the transaction commits.
-- +goose StatementBegin
create function order_is_whole() returns trigger language plpgsql as $$
declare
    items bigint; sold bigint; total bigint; money bigint; now_is text;
begin
    select status into now_is from orders where id = new.id;
    if now_is is distinct from 'paid' then
        return null; -- it went on within the transaction
    end if;
    select count(*), count(t.id) filter (where i.sold), coalesce(sum(i.total_amount), 0)
        into items, sold, total
        from order_items i left join tickets t
        on t.id = i.ticket_id and t.order_id = i.order_id and t.status = 'purchased' and t.user_id = new.user_id
        where i.order_id = new.id;
    select sum(amount) into money from payments where order_id = new.id and status in ('authorised', 'captured');
    if items = 0 or sold <> items or total + new.fee_total <> new.total_amount or money is distinct from new.total_amount then
        raise exception 'order % is not whole: % of % tickets sold, % of % paid', new.id, sold, items, money, new.total_amount
            using errcode = 'check_violation', constraint = 'orders_whole';
    end if;
    return null;
end
$$;
-- +goose StatementEnd
create constraint trigger orders_whole after update of status on orders deferrable initially deferred for each row
    when (new.status = 'paid' and old.status <> 'paid') execute function order_is_whole();

-- +goose Down
drop trigger orders_whole on orders;
drop trigger payments_transition on payments;
drop trigger orders_transition on orders;
drop function order_is_whole, refuse_transition, payment_may_become, order_may_become;
drop table event_cancellations, reconciliations, refund_items;
drop index refunds_look;
alter table refunds
    drop constraint refunds_watched,
    drop column actor, drop column look_at, drop column looks, drop column last_error;
create index refunds_unfinished on refunds (updated_at) where status = 'pending';
drop index payments_unchecked, payments_look;
alter table payments
    drop constraint payments_watched, drop constraint payments_refunded, drop constraint payments_status_check,
    drop column refunded_amount, drop column look_at, drop column looks, drop column last_error, drop column checked_at, drop column compare_at,
    add constraint payments_status_check check (status in ('pending', 'requires_action', 'authorised', 'captured',
        'voiding', 'voided', 'declined', 'failed', 'refunding', 'refunded'));
create index payments_unfinished on payments (updated_at) where status in ('pending', 'authorised', 'voiding');
alter table order_items
    drop constraint order_items_total, drop constraint order_items_discount,
    drop column discount_amount, drop column fee_amount, drop column tax_amount, drop column tax_included,
    drop column total_amount, drop column returned_at, drop column exchanged;
drop index orders_by_event, orders_by_promo;
create index orders_by_time on orders (created_at desc, id desc);
alter table orders
    drop constraint orders_refunded, drop constraint orders_fee,
    drop column fee_amount, drop column fee_tax_amount, drop column fee_total, drop column tax_name, drop column tax_rate,
    drop column tax_included, drop column promo_id, drop column promo_code, drop column refunded_amount;
drop table promo_codes;
alter table events
    drop column fee_per_ticket, drop column fee_per_order, drop column tax_name, drop column tax_rate,
    drop column tax_included, drop column cancel_until_h, drop column cancel_keeps_fees;
