package config

// Delivery are the settings of how deliveries get to their endpoints.
type Delivery struct {
	// Direct lets the first attempt of a delivery come before it is written down.
	// It is true in a configuration that was loaded, unless the file says otherwise.
	Direct bool
}

func (l *loader) delivery(n *node) {
	l.cfg.Delivery = Delivery{Direct: true}
	if n == nil {
		return
	}
	l.fields(n, fields{
		"direct": func(n *node) { l.boolean(n, &l.cfg.Delivery.Direct) },
	})
}
