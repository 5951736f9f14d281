package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"onsale/catalog"
	"onsale/internal/fault"
)

const selectVenues = `
select v.id, v.name, v.address, v.city, v.country, v.timezone, (select count(*) from events e where e.venue_id = v.id)
  from venues v`

func scanVenue(row pgx.CollectableRow) (v catalog.VenueRecord, err error) {
	return v, row.Scan(&v.ID, &v.Name, &v.Address, &v.City, &v.Country, &v.Timezone, &v.Events)
}

// Venues lists venues by name. next is "" on the last page.
func (s *Store) Venues(ctx context.Context, q catalog.ListQuery) (list []catalog.VenueRecord, next string, err error) {
	return listOf(ctx, s, q, selectVenues+`
 where (@text = '' or search_lower(v.name) like search_lower(@like) or search_lower(v.city) like search_lower(@like))
   and (@id::uuid is null or (v.name collate "C", v.id) > (@name::text, @id::uuid))
 order by v.name collate "C", v.id limit @limit`, scanVenue, func(v *catalog.VenueRecord) (string, string) { return v.Name, v.ID })
}

// Venue finds one; any other id is fault.NotFound.
func (s *Store) Venue(ctx context.Context, id string) (catalog.VenueRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return one(ctx, s.primary, "venue", id, selectVenues+` where v.id = @id::uuid`, scanVenue)
}

// VenueFree refuses, as fault.Conflict, the name and city of another venue than that with
// the id; "" is of one that is to be created.
func (s *Store) VenueFree(ctx context.Context, id string, p catalog.VenuePatch) error {
	return s.free(ctx, id, "there is a venue of this name in this city already", `
select exists (select from venues v left join venues mine on mine.id = nullif(@id, '')::uuid
 where v.id is distinct from mine.id and v.name = coalesce(@name, mine.name) and v.city = coalesce(@city, mine.city, ''))`,
		pgx.NamedArgs{"id": id, "name": p.Name, "city": p.City})
}

// CreateVenue adds a venue. One of this name in this city is fault.Conflict.
func (s *Store) CreateVenue(ctx context.Context, p catalog.VenuePatch) (v catalog.VenueRecord, err error) {
	if err := p.Check(); err != nil {
		return v, err
	}
	if p.Name == nil {
		return v, fault.New(fault.Invalid, "name is missing")
	}
	id, err := newID()
	if err != nil {
		return v, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
insert into venues (id, name, address, city, country, timezone)
values (@id::uuid, @name, coalesce(@address, ''), coalesce(@city, ''), coalesce(@country, ''), coalesce(@timezone, 'UTC'))`, venueArgs(id, p))
		if err != nil {
			return err
		}
		v, err = one(ctx, tx, "venue", id, selectVenues+` where v.id = @id::uuid`, scanVenue)
		return err
	})
	return v, duplicate(ctx, err, "there is a venue of this name in this city already")
}

func venueArgs(id string, p catalog.VenuePatch) pgx.NamedArgs {
	return pgx.NamedArgs{"id": id, "name": p.Name, "address": p.Address, "city": p.City, "country": p.Country, "timezone": p.Timezone}
}

// UpdateVenue changes what is given. Events stay at their instants whatever the time
// zone. Unknown is fault.NotFound, a name that is taken in the city fault.Conflict.
func (s *Store) UpdateVenue(ctx context.Context, id string, p catalog.VenuePatch) (v catalog.VenueRecord, err error) {
	if err := p.Check(); err != nil {
		return v, err
	}
	if !catalog.IsID(id) {
		return v, none("venue", id)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
update venues
   set name = coalesce(@name, name), address = coalesce(@address, address), city = coalesce(@city, city),
       country = coalesce(@country, country), timezone = coalesce(@timezone, timezone)
 where id = @id::uuid`, venueArgs(id, p))
		if err != nil {
			return err
		}
		v, err = one(ctx, tx, "venue", id, selectVenues+` where v.id = @id::uuid`, scanVenue)
		return err
	})
	return v, duplicate(ctx, err, "there is another venue of this name in this city")
}

// DeleteVenue removes a venue. One that events use is fault.Conflict.
func (s *Store) DeleteVenue(ctx context.Context, id string) error {
	return s.remove(ctx, "venue", id, "venues", `select count(*) from events where venue_id = @id::uuid`)
}
