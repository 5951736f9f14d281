-- +goose Up

-- What is special about a seat, beside the type of its ticket: the sum of 1
-- (accessible), 2 (for a companion), 4 (restricted view) and 8 (on the aisle).
alter table tickets add column attributes smallint not null default 0 check (attributes between 0 and 15);

-- Through which door one gets to the section; '' is any.
alter table sections add column entrance text not null default '' check (length(entrance) <= 100);

-- Addresses of pictures with their sizes and what they show.
alter table events add column images jsonb not null default '[]' check (jsonb_typeof(images) = 'array');

-- Grows when the places of an event change in what is said of them: nodes load its
-- layout and its drawn plan anew.
alter table events add column layout_revision integer not null default 0;

-- +goose Down
alter table events drop column layout_revision, drop column images;
alter table sections drop column entrance;
alter table tickets drop column attributes;
