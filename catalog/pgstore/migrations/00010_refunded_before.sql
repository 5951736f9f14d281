-- +goose Up

-- What was refunded before 00005 was refunded whole.
update orders o set refunded_amount = total_amount
where status = 'refunded' and refunded_amount = 0
    and exists (select from payments p where p.order_id = o.id and p.refunded_amount > 0);
update order_items i set returned_at = o.updated_at
from orders o
where o.id = i.order_id and o.status = 'refunded' and not i.sold and i.returned_at is null;

-- Jobs of that time. What they were for is due by itself now, and the sweep finds it.
delete from river_job where kind in ('settle_payment', 'expire_order', 'reconcile')
    or kind = 'refund_payment' and not args ? 'refund';

-- +goose Down
