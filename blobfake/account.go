package blobfake

import (
	"net/http"
)

// getServiceProperties answers what an account has that never changed them.
func (s *Service) getServiceProperties(w http.ResponseWriter, _ *http.Request) error {
	return writeXML(w, []byte(xmlHeader+`<StorageServiceProperties>`+
		`<Logging><Version>1.0</Version><Read>false</Read><Write>false</Write><Delete>false</Delete>`+
		`<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>`+
		`<HourMetrics><Version>1.0</Version><Enabled>true</Enabled><IncludeAPIs>true</IncludeAPIs>`+
		`<RetentionPolicy><Enabled>true</Enabled><Days>7</Days></RetentionPolicy></HourMetrics>`+
		`<MinuteMetrics><Version>1.0</Version><Enabled>false</Enabled>`+
		`<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></MinuteMetrics>`+
		`<Cors /><DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy>`+
		`<StaticWebsite><Enabled>false</Enabled></StaticWebsite></StorageServiceProperties>`))
}

func (s *Service) getAccountInfo(w http.ResponseWriter, r *http.Request) error {
	a := targetOf(r).found
	h := w.Header()
	h.Set("x-ms-sku-name", orDefault(a.SKU, "Standard_LRS"))
	h.Set("x-ms-account-kind", orDefault(a.Kind, "StorageV2"))
	h.Set("x-ms-is-hns-enabled", "false")
	w.WriteHeader(http.StatusOK)
	return nil
}

func orDefault(v, fallback string) string {
	if v == "" {
		return fallback
	}
	return v
}
