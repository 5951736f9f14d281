-- +goose Up

-- What the event's document said of prices and areas, each with the position of its
-- tier, so that the document can be written again. Null: it was never kept, and is
-- made from the tiers.
alter table events add column offer jsonb;

-- Since when tickets cannot be held: prices may only change once every hold made
-- before has ended. Null: on sale, or never was.
alter table events add column off_sale_at timestamptz;
update events set off_sale_at = now() where status <> 'on_sale';

-- +goose StatementBegin
create function note_off_sale() returns trigger language plpgsql as $$
begin
    if new.status = 'on_sale' then
        new.off_sale_at = null;
    elsif old.status = 'on_sale' then
        new.off_sale_at = clock_timestamp();
    end if;
    return new;
end $$;
-- +goose StatementEnd
create trigger events_off_sale before update of status on events for each row
    when (old.status is distinct from new.status) execute function note_off_sale();

-- +goose Down
drop trigger events_off_sale on events;
drop function note_off_sale();
alter table events drop column off_sale_at, drop column offer;
