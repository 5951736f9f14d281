-- +goose Up

-- A plan in use cannot be broken: nobody changes what an event was laid out from, and
-- events.plan_id keeps it from being deleted. A plan that is changed is another one.
-- +goose StatementBegin
create function plan_stays() returns trigger language plpgsql as $$
begin
    raise exception 'the plan % cannot be changed: import the changed one beside it', old.id
        using errcode = 'check_violation', constraint = 'plans_stay';
end $$;
-- +goose StatementEnd
create trigger plans_stay before update on plans for each row
    when ((old.id, old.version, old.seats, old.document, old.created_at) is distinct from (new.id, new.version, new.seats, new.document, new.created_at))
    execute function plan_stays();
create index plans_by_name on plans (name collate "C", id);
create index events_by_plan on events (plan_id) where plan_id is not null;

alter table artists add column url text not null default '';
create index artists_in_order on artists (name collate "C", id);
create index venues_in_order on venues (name collate "C", id);

-- What is over is over: buyers were given their money back, or the evening was.
-- +goose StatementBegin
create function event_is_over() returns trigger language plpgsql as $$
begin
    raise exception 'event % is % and cannot become %', old.id, old.status, new.status
        using errcode = 'check_violation', constraint = 'events_over';
end $$;
-- +goose StatementEnd
create trigger events_over before update of status on events for each row
    when (old.status = 'cancelled' and new.status <> 'cancelled' or old.status = 'ended' and new.status not in ('ended', 'cancelled'))
    execute function event_is_over();

-- How often ticket holders were told that the event takes place at another time.
alter table events add column reschedules integer not null default 0;
alter table emails
    drop constraint emails_kind_check,
    add constraint emails_kind_check check (kind in ('confirmation', 'refund', 'cancellation', 'transfer', 'sign_in', 'reschedule'));

-- Tickets that were sold or given elsewhere: by which name they are known there.
alter table orders add column reference text check (reference <> '');
create unique index orders_by_reference on orders (event_id, reference) where reference is not null;

-- +goose Down
drop index orders_by_reference;
alter table orders drop column reference;
delete from emails where kind = 'reschedule';
alter table emails
    drop constraint emails_kind_check,
    add constraint emails_kind_check check (kind in ('confirmation', 'refund', 'cancellation', 'transfer', 'sign_in'));
alter table events drop column reschedules;
drop trigger events_over on events;
drop function event_is_over();
drop index venues_in_order, artists_in_order;
alter table artists drop column url;
drop index events_by_plan, plans_by_name;
drop trigger plans_stay on plans;
drop function plan_stays();
