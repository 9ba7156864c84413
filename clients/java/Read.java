// What scoring code does with its managed identity, once:
//   java -cp 'lib/*' Read.java ACCOUNT CONTAINER BLOB [WHAT [CLIENT_ID]]
// It asks for a token (of the user-assigned identity, with its client id), reads
// the blob with the SDK and then with the JDK's own HTTP client. WHAT is all, or
// one of sdk, plain and token. The last line printed is a JSON object: what was
// read, or status and error code.

import com.azure.core.credential.TokenCredential;
import com.azure.core.credential.TokenRequestContext;
import com.azure.core.util.BinaryData;
import com.azure.identity.ManagedIdentityCredentialBuilder;
import com.azure.storage.blob.BlobServiceClientBuilder;
import com.azure.storage.blob.models.BlobStorageException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.LinkedHashMap;
import java.util.Map;

public class Read {
    public static void main(String[] args) {
        String url = "https://" + args[0] + ".blob.core.windows.net";
        String what = args.length > 3 ? args[3] : "all";
        Map<String, Object> report = new LinkedHashMap<>();
        try {
            TokenCredential credential = new ManagedIdentityCredentialBuilder().clientId(args.length > 4 ? args[4] : null).build();
            String token = credential.getTokenSync(new TokenRequestContext().addScopes("https://storage.azure.com/.default")).getToken();
            report.put("token", "given");
            if (what.equals("all") || what.equals("sdk")) {
                report.put("sdk", sdk(url, args[1], args[2], credential));
            }
            if (what.equals("all") || what.equals("plain")) {
                report.put("plain", plain(url + "/" + args[1] + "/" + args[2], token));
            }
        } catch (RuntimeException e) {
            report.put("credential", e + " " + e.getCause());
        }
        System.out.println(BinaryData.fromObject(report));
        System.exit(0);
    }

    static String sdk(String url, String container, String blob, TokenCredential credential) {
        try {
            return new BlobServiceClientBuilder().endpoint(url).credential(credential).buildClient()
                .getBlobContainerClient(container).getBlobClient(blob).downloadContent().toString();
        } catch (BlobStorageException e) {
            return e.getStatusCode() + " " + e.getErrorCode();
        }
    }

    static String plain(String url, String token) {
        HttpRequest request = HttpRequest.newBuilder(URI.create(url))
            .header("Authorization", "Bearer " + token).header("x-ms-version", "2023-11-03").build();
        try {
            HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            return answer.statusCode() == 200 ? answer.body()
                : answer.statusCode() + " " + answer.headers().firstValue("x-ms-error-code").orElse("");
        } catch (Exception e) {
            return e.toString();
        }
    }
}
